"""Ablations: equal runs, resumed run by run, and a report that does not take noise for a difference."""

import json
from dataclasses import replace

import pytest
import yaml
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="needs PyTorch (make test installs it)")
pytest.importorskip("accelerate", reason="needs accelerate (make test installs it)")

from small_system import LABELS, SHAPES, small_corpus, small_language, small_preset  # noqa: E402

from emollama_ros.errors import ConfigError, InputError  # noqa: E402
from training.__main__ import app  # noqa: E402
from training.ablation import answers, runs  # noqa: E402
from training.ablation.answers import Languages, with_first_blocks  # noqa: E402
from training.ablation.comparisons import comparisons_of  # noqa: E402
from training.ablation.differences import EXCEEDS, TOO_FEW, WITHIN, compare, score_of  # noqa: E402
from training.ablation.head import head_clips, tell  # noqa: E402
from training.ablation.material import LimitedCorpus, Material, settings_of  # noqa: E402
from training.ablation.page import to_markdown  # noqa: E402
from training.ablation.plan import Plan, System, chosen_of, load_plan, systems_of  # noqa: E402
from training.ablation.report import Table, report_of, write_report  # noqa: E402
from training.ablation.results import Costs, Told  # noqa: E402
from training.ablation.runs import run_all, run_one  # noqa: E402
from training.ablation.summary import DOCUMENT, REPORTS, document  # noqa: E402
from training.ablation.views import MEASURES, SEEN  # noqa: E402
from training.curriculum.examples import ExampleMaker  # noqa: E402
from training.curriculum.network import build  # noqa: E402
from training.mmeverse.instructions import instructions_of  # noqa: E402
from training.mmeverse.schema import Provenance  # noqa: E402
from training.presets import CONFIGS  # noqa: E402

STAGE = {"steps": 4, "batch": 4, "warmup": 1, "rate": 5e-3, "modality_dropout": 0.5}
PLAN = {
    "name": "test",
    "preset": "tiny",
    "seeds": [0, 1, 2],
    "sources": {"javanese_av": 1},
    "held_out": {"sources": ["javanese_av"]},
    "head": {
        "fusions": ["none", "conv_attention"],
        "views": ["all", "audio"],
        "stage": {**STAGE, "stage": 1},
    },
    "answers": {
        "fusions": ["conv_attention"],
        "curricula": ["joint", "perception", "perception_cognition"],
        "perception": {**STAGE, "stage": 1, "steps": 3},
        "cognition": {**STAGE, "stage": 2, "steps": 2},
        "blocks": 1,
        "asked": 4,
    },
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def plan_of(**changes):
    return Plan.model_validate_json(json.dumps({**PLAN, **changes}))


@pytest.fixture
def material(tmp_path):
    corpus = small_corpus(tmp_path / "features")
    return Material(small_preset(), corpus, corpus, SHAPES, "small", lambda _: small_language())


def test_the_committed_plans_load_and_compare_everything():
    plans = [load_plan(path) for path in sorted((CONFIGS / "ablations").glob("*.yaml"))]
    assert all(len(plan.seeds) >= 3 for plan in plans)
    cells = [system for plan in plans for system in systems_of(plan)]
    assert {(s.fusion, s.view) for s in cells if s.grid == "head"} == {
        (fusion, view)
        for fusion in ("none", "attention", "conv", "qformer", "conv_attention")
        for view in ("all", "audio", "video")
    }
    curricula = {"joint", "perception", "perception_cognition"}
    assert {s.curriculum for s in cells if s.grid == "answers"} == curricula
    questions = {"fusion", "views", "removed at inference", "curriculum"}
    assert {row[0] for plan in plans for row in comparisons_of(plan)} == questions


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seeds": [0, 1]}, "seeds"),
        ({"fusion": "conv"}, "fusion"),
        ({"head": None, "answers": None}, "needs a grid"),
        ({"sources": {}}, "sources"),
        ({"answers": {**PLAN["answers"], "cognition": PLAN["answers"]["perception"]}}, "cognition stage 2"),
    ],
)
def test_a_wrong_plan_is_refused(tmp_path, change, words):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({**PLAN, **change}))
    with pytest.raises(ConfigError, match=words):
        load_plan(path)


def test_every_curriculum_has_the_same_steps():
    grid = plan_of().answers
    stages = {name: grid.stages(name) for name in grid.curricula}
    assert {sum(stage.steps for stage in row) for row in stages.values()} == {5}
    assert [stage.mixes for stage in stages["joint"]] == [(1, 2)]
    assert [stage.mixes for stage in stages["perception"]] == [(1,)]
    assert [stage.mixes for stage in stages["perception_cognition"]] == [(1,), (2,)]


def test_runs_go_on_where_they_were_and_are_reported(tmp_path, material, monkeypatch):
    plan, out = plan_of(), tmp_path / "out"
    first = run_all(plan, material, out)
    assert len(first) == 7 * 3 and len(list((out / "runs").glob("*.json"))) == 21
    computed = []
    known = run_one

    def counted(plan, material, system, seed, folder):
        computed.append((system.name, seed))
        return known(plan, material, system, seed, folder)

    monkeypatch.setattr(runs, "run_one", counted)
    assert run_all(plan, material, out) == first and not computed

    (out / "runs" / "head-none-audio-1.json").unlink()
    (out / "runs" / "head-none-all-0.json").write_text("{")  # a damaged one counts as none
    report = report_of(plan, out / "runs", material, draws=200)
    assert report["not_run"] == ["head-none-all-0", "head-none-audio-1"]
    again = run_all(plan, material, out)
    assert computed == [("head-none-all", 0), ("head-none-audio", 1)]
    assert [replace(result, seconds=0) for result in again] == [replace(r, seconds=0) for r in first]

    report = report_of(plan, out / "runs", material, draws=200)
    write_report(report, out)
    assert not report["not_run"] and len(report["differences"]) == len(comparisons_of(plan))
    assert {row["question"] for row in report["differences"]} >= {"fusion", "views", "curriculum"}
    assert (out / "ablation.svg").stat().st_size and "within the noise" in (out / "report.md").read_text()
    assert "people" in to_markdown(report) and json.loads((out / "report.json").read_text())["scores"]
    assert {row["task"] for row in report["answer_loss"]} == {"perception", "cognition"}


def test_other_settings_are_computed_anew(tmp_path, material):
    plan = plan_of(answers=None)
    run_all(plan, material, tmp_path)
    before = (tmp_path / "runs" / "head-none-all-0.json").read_text()
    longer = {**PLAN["head"], "stage": {**PLAN["head"]["stage"], "steps": 5}}
    assert len(report_of(plan_of(answers=None, head=longer), tmp_path / "runs", material)["not_run"]) == 12
    run_all(plan_of(answers=None, head=longer), material, tmp_path)
    assert (
        json.loads(before)["settings"]
        != json.loads((tmp_path / "runs" / "head-none-all-0.json").read_text())["settings"]
    )


def test_reasons_that_come_later_change_the_answers_alone(material):
    plan, records = plan_of(), material.train.records
    told = Provenance(agent="human", model="human", prompt="", date="2026-01-01")
    reasoned = LimitedCorpus(material.train, SEEN["all"])
    reasoned.records = tuple(
        record.model_copy(update={"reasoning": "The voice is loud.", "provenance": {"reasoning": told}})
        for record in records
    )
    later = replace(material, train=reasoned)
    changed = [
        system.grid
        for system in systems_of(plan)
        if settings_of(plan, later, system, 0) != settings_of(plan, material, system, 0)
    ]
    assert changed == ["answers"] * 3


@pytest.mark.parametrize("fusion", ["none", "qformer", "conv_attention"])
def test_the_head_learns_and_loses_little_when_a_modality_is_removed(material, tmp_path, fusion):
    longer = {**PLAN["head"], "stage": {**PLAN["head"]["stage"], "steps": 80, "rate": 2e-2, "batch": 12}}
    plan = plan_of(answers=None, head=longer)
    result = run_one(plan, material, System("head", fusion, "all"), 0, tmp_path)
    assert set(result.head) == set(MEASURES)
    for told in result.head.values():  # every modality alone tells these labels
        assert told.truth == told.chosen


def test_a_view_shows_nothing_else(material):
    heard = LimitedCorpus(material.train, SEEN["audio"])
    assert len(heard.records) == 12
    assert all(set(heard.features(record.key)) == {"audio"} for record in heard.records)
    clips = head_clips(heard, SHAPES, material.preset.head.labels)
    assert clips.features.present.tolist() == [[True, False, False]] * 12
    net = build(material.preset, SHAPES, small_language()).eval()
    labels = material.preset.head.labels
    assert tell(net, clips, MEASURES["both"], labels) is None
    assert len(tell(net, clips, MEASURES["audio"], labels).clips) == 12


def test_what_a_measure_takes_away_has_no_influence(material):
    net = build(material.preset, SHAPES, small_language()).eval()
    labels = material.preset.head.labels
    whole = head_clips(material.train, SHAPES, labels)
    deaf = replace(
        whole, features=replace(whole.features, audio=torch.full_like(whole.features.audio, torch.nan))
    )
    measure = MEASURES["both, no audio"]
    assert tell(net, whole, measure, labels) == tell(net, deaf, measure, labels)
    assert len(tell(net, whole, MEASURES["both"], labels).clips) == 12


def test_answers_are_those_of_greedy_decoding_with_our_positions(material):
    preset = small_preset()
    net = build(preset, SHAPES, small_language()).eval()
    seen = LimitedCorpus(material.train, SEEN["audio"])  # masked tokens stand in the prompt
    examples = ExampleMaker(seen, preset, SHAPES, small_language().codec, net.config.soft_tokens)
    item = instructions_of(seen.records[0], 1, 0, template=examples.template)[0]
    said = []

    def generated(**prompt):
        found = type(net.llama_model).generate(net.llama_model, **prompt)
        said.extend(found[0].tolist())
        return found

    net.llama_model.generate = generated
    with torch.no_grad():
        answers.generated(net, examples, [item])
        batch = examples.batch([replace(item, target="")])
        stop = examples.codec.encode(examples.template.stop)
        ids, mask = batch.ids[:, : -len(stop)], batch.mask[:, : -len(stop)]
        soft = net.perceive(batch.features)[1]
        for token in said:
            logits = net.llama_model(**net.prompt(ids, mask, soft)).logits[0, -1]
            assert int(logits.argmax()) == token
            ids = torch.cat([ids, torch.tensor([[token]])], 1)
            mask = torch.cat([mask, torch.ones(1, 1, dtype=torch.bool)], 1)
    assert said and not soft.mask.all()


def test_questions_asked_together_are_answered_as_each_alone(material):
    net = build(small_preset(), SHAPES, small_language()).eval()
    examples = ExampleMaker(
        material.train, small_preset(), SHAPES, small_language().codec, net.config.soft_tokens
    )
    asked = [instructions_of(r, 1, 0, template=examples.template)[0] for r in material.train.records[:4]]
    assert len({len(item.prompt) for item in asked}) > 1
    alone = [answers.generated(net, examples, [item])[0] for item in asked]
    assert answers.generated(net, examples, asked) == alone


def test_costs_are_the_networks_own_loss_and_depend_on_the_clip(material):
    net = build(small_preset(), SHAPES, small_language()).eval()
    examples = ExampleMaker(
        material.train, small_preset(), SHAPES, small_language().codec, net.config.soft_tokens
    )
    costs = answers.costs_of(net, examples, 1, 12)
    records = [next(r for r in material.train.records if c.startswith("/".join(r.key))) for c in costs.clips]
    assert len(records) == 12 and costs.persons == tuple(record.person for record in records)
    batch = examples.batch(
        [instructions_of(record, 1, 42, template=examples.template)[0] for record in records]
    )
    with torch.no_grad():
        mean = net(batch.features, batch.ids, batch.mask, batch.targets)[1]
    assert sum(costs.own) / sum(costs.tokens) == pytest.approx(float(mean), rel=1e-5)
    assert all(own != other for own, other in zip(costs.own, costs.foreign, strict=True))


def test_the_loss_of_answers_is_compared_by_the_same_rule():
    def costs(nats):
        names = tuple(f"source:{i // 3}" for i in range(24))
        clips = tuple(f"clip{i}" for i in range(24))
        own = tuple(nats * 5 + i % 4 / 10 for i in range(24))
        return Costs(clips, names, (5,) * 24, own, own)

    systems = System("answers", "conv", "all", "joint"), System("answers", "none", "all", "joint")
    cells = [
        (system, "cognition loss", {seed: costs(nats + seed / 100) for seed in range(3)})
        for system, nats in zip(systems, (2.0, 1.5), strict=True)
    ]
    found = compare("fusion", *cells, comparisons=10, draws=500)
    assert found.verdict == EXCEEDS and found.mean == pytest.approx(0.5)
    assert found.interval[0] == pytest.approx(0.5) and found.persons == 8


def test_an_answer_is_read_and_what_is_none_counts_as_wrong(material, monkeypatch):
    preset, language = small_preset(), small_language()
    net = build(preset, SHAPES, language).eval()
    examples = ExampleMaker(material.train, preset, SHAPES, language.codec, net.config.soft_tokens)
    said = [
        language.codec.encode(word) for word in ("Sadness.>nonsense", "I cannot say", *["happiness"] * 10)
    ]
    width = max(map(len, said))
    ended = [row + [ord(">")] * (width - len(row)) for row in said]  # ">" ends an answer here
    net.llama_model.generate = lambda **_: torch.tensor(ended)
    told = answers.ask(net, examples, 12)
    assert told.chosen == ("sadness", "", *["happiness"] * 10)
    assert set(told.truth) == set(LABELS) and told.persons[0].startswith("javanese_av:")
    score = score_of(System("answers", "none", "all", "joint"), "answers", {0: told, 1: told})
    right = sum(a == b for a, b in zip(told.truth, told.chosen, strict=True))
    assert score.metric == "waf" and 0 < score.mean < 1 and right < 12


def test_only_the_first_blocks_are_left():
    language = small_language()
    assert len(with_first_blocks(language, None).model.get_base_model().model.layers) == 2
    cut = with_first_blocks(language, 1)
    assert len(cut.model.get_base_model().model.layers) == 1
    assert cut.model(torch.zeros(1, 3, dtype=torch.long)).logits.shape == (1, 3, 128)


def test_a_language_model_is_read_once_and_its_lora_belongs_to_the_seed(monkeypatch):
    reads = []

    def read(preset):
        reads.append(preset)
        whole = small_language()
        return replace(whole, model=whole.model.unload())

    monkeypatch.setattr(answers, "load_base", read)
    languages, preset = Languages(), small_preset().language

    def lora_of(seed):
        torch.manual_seed(seed)
        model = languages(preset).model
        weights = {name: p.detach().clone() for name, p in model.named_parameters() if "lora_A" in name}
        with torch.no_grad():
            for value in model.parameters():
                value.zero_()  # what is done to one copy does nothing to the next
        return weights

    first, other, again = lora_of(1), lora_of(2), lora_of(1)
    assert len(reads) == 1 and first
    assert all(torch.equal(first[k], again[k]) and not torch.equal(first[k], other[k]) for k in first)
    assert all(
        p.abs().sum() > 0
        for name, p in languages(preset).model.named_parameters()
        if "proj" in name and "lora" not in name
    )


def test_which_clips_are_taken_does_not_depend_on_their_order(material):
    plan, records = plan_of(most={"javanese_av": 5}), material.train.records
    kept = chosen_of(plan, records)
    assert len(kept) == 5 and kept == chosen_of(plan, records[::-1])
    assert chosen_of(plan_of(most={"emodb": 5}), records) != kept


def told_of(right, persons=8, each=6, seed=0):
    """Answers of which about a share is right."""
    random = torch.Generator().manual_seed(seed)
    truth = [("anger", "sadness", "fear")[i % 3] for i in range(persons * each)]
    hit = (torch.rand(len(truth), generator=random) < right).tolist()
    chosen = [
        label if ok else {"anger": "fear"}.get(label, "anger") for label, ok in zip(truth, hit, strict=True)
    ]
    names = tuple(f"source:{i // each}" for i in range(len(truth)))
    return Told(tuple(f"clip{i}" for i in range(len(truth))), names, tuple(truth), tuple(chosen))


def compared(one, other, comparisons=10):
    systems = System("head", "conv", "all"), System("head", "none", "all")
    cells = [
        (system, "all", dict(enumerate(side))) for system, side in zip(systems, (one, other), strict=True)
    ]
    return compare("fusion", *cells, comparisons, draws=2000)


def test_a_clear_difference_exceeds_the_noise_and_noise_does_not():
    good, bad = [[told_of(share, seed=s) for s in range(3)] for share in (0.95, 0.3)]
    clear = compared(good, bad)
    assert clear.verdict == EXCEEDS and clear.mean > 0.4 and clear.interval[0] > 0
    same = compared(bad, [told_of(0.3, seed=s) for s in range(10, 13)])
    assert same.verdict == WITHIN and same.interval[0] < 0 < same.interval[1]


def test_a_difference_of_one_seed_alone_is_noise():
    base = [told_of(0.5, seed=s) for s in range(3)]
    assert compared([told_of(1.0), *base[1:]], base).verdict == WITHIN


def test_a_few_people_say_nothing_about_others():
    good, bad = [[told_of(share, persons=3, seed=s) for s in range(3)] for share in (0.95, 0.2)]
    assert compared(good, bad).verdict == TOO_FEW


def test_more_comparisons_need_wider_intervals():
    good, bad = [[told_of(share, seed=s) for s in range(3)] for share in (0.6, 0.5)]
    one, many = compared(good, bad, 1).interval, compared(good, bad, 50).interval
    assert many[0] < one[0] and one[1] < many[1]


def test_systems_are_compared_on_the_same_clips_only():
    with pytest.raises(AssertionError, match="the same clips"):
        compared([told_of(0.5)] * 3, [told_of(0.5, persons=7)] * 3)


def test_a_table_knows_what_was_not_run():
    assert not Table([]).cell(System("head", "none", "all"), "all")[2]


def test_the_command_says_what_is_wrong(tmp_path):
    def said(*options):
        places = ["--prepared", str(tmp_path), "--root", str(tmp_path), "--out", str(tmp_path / "out")]
        done = CliRunner().invoke(app, ["ablate", *places, *options])
        assert done.exit_code == 1
        return done.output

    assert "error:" in said("--config", str(tmp_path / "none.yaml"))
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({**PLAN, "answers": None}))
    assert "has no such grid" in said("--config", str(path), "--grid", "answers")


def test_the_page_says_what_the_committed_report_says():
    root = CONFIGS.parents[1]
    page = (root / "docs" / "ablation.md").read_text()
    report = json.loads((root / "training" / "reports" / "ablation" / "small" / "report.json").read_text())
    assert report["plan"] == load_plan(CONFIGS / "ablations" / "small.yaml").model_dump(mode="json")
    assert not report["not_run"]
    mean = {(s["system"]["fusion"], s["system"]["view"], s["measure"]): s["mean"] for s in report["scores"]}
    usual = [mean["conv_attention", "all", m] for m in ("all", "both", "both, no video", "both, no audio")]
    for value in (mean["none", "all", "all"], mean["conv_attention", "video", "both, no audio"], *usual):
        assert f"{value:.3f}" in page
    exceeding = [row for row in report["differences"] if row["verdict"] == EXCEEDS]
    assert len(exceeding) == 2 and f"Two of {len(report['differences'])} differences exceed the noise" in page
    assert f"{exceeding[1]['mean']:.3f} more" in page
    whole = next(score for score in report["scores"] if score["measure"] == "all")
    assert f"{whole['clips']} clips of {whole['persons']} other people" in page
    assert f"{sum(c['clips'] for c in report['clips']['train'].values())} clips of javanese_av" in page


def test_the_documents_tables_are_those_of_the_committed_reports():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.count("<!-- report: ") == len(list(REPORTS.glob("*/report.json")))
    assert document(text) == text, "run: python -m training ablation-doc --write"


def test_a_summary_has_a_row_a_system_and_says_what_exceeds_the_noise(tmp_path, material):
    answers_of = {**PLAN["answers"], "curricula": ["joint", "perception_cognition"]}
    plan = plan_of(head=None, answers=answers_of)
    run_all(plan, material, tmp_path / "out")
    report = report_of(plan, tmp_path / "out" / "runs", material, draws=200)
    write_report(report, tmp_path / "reports" / "test")
    text = "before\n<!-- report: test -->\nold\n<!-- end of report -->\nafter"
    made = document(text, tmp_path / "reports")
    rows = [line.split(" | ") for line in made.splitlines() if line.startswith("| conv_attention")]
    assert [row[2] for row in rows] == ["joint", "perception then cognition"]
    assert {len(row) for row in rows} == {9} and all("± " in cell for row in rows for cell in row[3:])
    assert "old" not in made and "differences; exceeds the noise: " in made and made.endswith("after")
    assert document(made, tmp_path / "reports") == made


def test_a_report_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="lost"):
        document("<!-- report: lost -->\n<!-- end of report -->", tmp_path)
