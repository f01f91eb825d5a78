"""General vision-language sets as their authors distribute them, pictures included, tiny."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from native_layouts.media import write_picture

#: Numbers of the pictures of every set here.
PICTURES = (9, 25, 30)
WIDTH, HEIGHT = 640, 480


def coco_2014(number: int) -> str:
    return f"COCO_train2014_{number:012d}.jpg"


def _pictures(images: Path, names: list[str]) -> None:
    for name in names:
        write_picture(images / name)


def _dump(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


def build_coco_caption(root: Path, images: Path) -> dict[str, Any]:
    """Two captions on each picture; returns the content of the file, to be damaged."""
    _pictures(images, [f"train2014/{coco_2014(n)}" for n in PICTURES])
    data = {
        "info": {"year": 2014},
        "licenses": [],
        "images": [
            {"id": n, "file_name": coco_2014(n), "width": WIDTH, "height": HEIGHT, "license": 1}
            for n in PICTURES
        ],
        "annotations": [
            {"image_id": n, "id": 10 * n + k, "caption": f"A tile numbered {n}, view {k}."}
            for n in PICTURES
            for k in (1, 2)
        ],
    }
    _dump(root / "annotations/captions_train2014.json", data)
    return data


def build_vqa(root: Path, images: Path, prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A question on each picture, answered by three people; returns questions and annotations."""
    _pictures(images, [f"train2014/{coco_2014(n)}" for n in PICTURES])
    asked = {
        "info": {},
        "task_type": "Open-Ended",
        "data_type": "mscoco",
        "data_subtype": "train2014",
        "questions": [
            {"image_id": n, "question": f"Is {n} even?", "question_id": n * 1000} for n in PICTURES
        ],
    }
    said = ("no", "no", "hardly")
    answered = {
        "info": {},
        "annotations": [
            {
                "question_id": n * 1000,
                "image_id": n,
                "question_type": "is",
                "answer_type": "yes/no",
                "answers": [
                    {"answer_id": k, "answer": word, "raw_answer": word, "answer_confidence": "yes"}
                    for k, word in enumerate(said, 1)
                ],
            }
            for n in PICTURES
        ],
    }
    _dump(root / f"{prefix}OpenEnded_mscoco_train2014_questions.json", asked)
    _dump(root / f"{prefix}mscoco_train2014_annotations.json", answered)
    return asked, answered


def build_a_okvqa(root: Path, images: Path) -> list[dict[str, Any]]:
    """A question on each picture, of COCO 2017."""
    _pictures(images, [f"train2017/{n:012d}.jpg" for n in PICTURES])
    data = [
        {
            "split": "train",
            "image_id": n,
            "question_id": f"q{n}",
            "question": f"What is {n} made of?",
            "choices": ["tiles", "wood", "sand", "air"],
            "correct_choice_idx": 0,
            "direct_answers": ["tiles", "tiles", "blocks"],
            "difficult_direct_answer": False,
            "rationales": ["It has corners."],
        }
        for n in PICTURES
    ]
    _dump(root / "aokvqa_v1p0_train.json", data)
    return data


def build_gqa(root: Path, images: Path) -> dict[str, Any]:
    """A question on each picture; ids of pictures are texts, not all of them numbers."""
    ids = ["2354786", "n161313", "30"]
    _pictures(images, [f"images/{n}.jpg" for n in ids])
    data = {
        f"0{k}": {
            "imageId": n,
            "question": f"Which tile is {k}th?",
            "answer": "left",
            "fullAnswer": "The left one.",
            "isBalanced": True,
            "types": {"structural": "query"},
        }
        for k, n in enumerate(ids)
    }
    _dump(root / "train_balanced_questions.json", data)
    return data


def build_refcoco_mdetr(root: Path, images: Path, name: str) -> dict[str, Any]:
    """MDETR's form: an entry in images for each expression."""
    _pictures(images, [f"train2014/{coco_2014(n)}" for n in PICTURES])
    data = {
        "info": {},
        "images": [
            {
                "file_name": coco_2014(n),
                "height": HEIGHT,
                "width": WIDTH,
                "id": k,
                "original_id": n,
                "caption": f"tile {k}",
                "dataset_name": name,
                "tokens_negative": [[0, 4]],
            }
            for k, n in enumerate(PICTURES)
        ],
        "annotations": [
            {"id": 100 + k, "image_id": k, "bbox": [64.0, 48.0, 320.0, 240.0], "area": 1.0, "category_id": 1}
            for k, _ in enumerate(PICTURES)
        ],
        "categories": [],
    }
    _dump(root / f"finetune_{name}_train.json", data)
    return data


def build_refcoco_refs(root: Path, images: Path, split_by: str) -> list[dict[str, Any]]:
    """The original list of references as JSON; two expressions on each of the pictures, the last held out."""
    _pictures(images, [f"train2014/{coco_2014(n)}" for n in PICTURES])
    instances = {
        "images": [{"id": n, "file_name": coco_2014(n), "width": WIDTH, "height": HEIGHT} for n in PICTURES],
        "annotations": [{"id": 7 * n, "image_id": n, "bbox": [0, 0, WIDTH, HEIGHT]} for n in PICTURES],
        "categories": [],
    }
    refs = [
        {
            "ref_id": n,
            "ann_id": 7 * n,
            "image_id": n,
            "file_name": f"COCO_train2014_{n:012d}_{7 * n}.jpg",
            "split": "val" if n == PICTURES[-1] else "train",
            "sent_ids": [2 * n, 2 * n + 1],
            "sentences": [
                {"sent_id": 2 * n + k, "sent": f"tile {n} {k}", "raw": f"Tile {n} {k}", "tokens": []}
                for k in (0, 1)
            ],
        }
        for n in PICTURES
    ]
    _dump(root / "instances.json", instances)
    _dump(root / f"refs({split_by}).json", refs)
    return refs
