// What records say is data: text is only ever set as text, never as markup.

const state = { clips: [], number: 0, clip: null, focus: 0 };
const at = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

async function ask(path, options) {
  const answer = await fetch(path, options);
  const data = await answer.json();
  if (!answer.ok) throw new Error(data.error);
  return data;
}

async function begin() {
  const overview = await ask("/api/clips");
  state.clips = overview.clips;
  state.verdicts = overview.verdicts;
  at("reviewer").textContent = `Reviewer: ${overview.reviewer}`;
  const wanted = Number(new URLSearchParams(location.hash.slice(1)).get("clip"));
  await show(wanted >= 1 && wanted <= state.clips.length ? wanted - 1 : firstUnmarked(0));
}

const isDone = (clip) => clip.marked >= clip.fields;

function firstUnmarked(from) {
  const order = state.clips.map((_, i) => (from + i) % state.clips.length);
  return order.find((i) => !isDone(state.clips[i])) ?? from;
}

async function show(number) {
  if (number < 0 || number >= state.clips.length) return;
  const clip = await ask(`/api/clips/${number}`);
  Object.assign(state, { number, clip });
  history.replaceState(null, "", `#clip=${number + 1}`);
  at("clip-title").textContent = `${number + 1} of ${state.clips.length} · ${clip.source} · ${clip.id}`;
  at("previous").disabled = number === 0;
  at("next").disabled = number === state.clips.length - 1;
  showMedia(clip);
  at("fields").replaceChildren(...clip.fields.map(card));
  state.focus = Math.max(0, clip.fields.findIndex((field) => !clip.marks[field.name]));
  focusField(false);
  showProgress();
}

function showMedia(clip) {
  const { kinds, start_s: start, end_s: end } = clip.media;
  const span = start === null && end === null ? "" : `#t=${start ?? 0}${end === null ? "" : `,${end}`}`;
  const source = (kind) => `/api/clips/${state.number}/media/${kind}${span}`;
  const label = `Clip ${state.number + 1}`;
  const players = {
    video: () => make("video", { src: source("video"), controls: true, playsinline: true, preload: "auto", "aria-label": label }),
    audio: () => make("audio", { src: source("audio"), controls: true, preload: "auto", "aria-label": `${label}, sound` }),
    image: () => make("img", { src: source("image"), alt: label }),
  };
  at("player").replaceChildren(...kinds.map((kind) => players[kind]()));
  showPeak(clip);
}

function showPeak(clip) {
  const peak = clip.fields.find((field) => field.name === "clues.peak_frame");
  at("peak").hidden = !peak || !clip.media.kinds.includes("video");
  if (at("peak").hidden) return at("peak-image").removeAttribute("src");
  at("peak-image").src = `/api/clips/${state.number}/peak.jpg`;
  at("peak-image").alt = `Frame ${peak.text}`;
  at("peak-caption").textContent = `Peak frame ${peak.text}: where the expression was measured strongest.`;
}

function card(field, index) {
  const heading = `field-${index}`;
  const mark = state.clip.marks[field.name];
  const buttons = state.verdicts.map((verdict) => {
    const button = make("button", { type: "button", "data-verdict": verdict, "aria-pressed": mark?.verdict === verdict ? "true" : "false" }, sentence(verdict));
    button.addEventListener("click", () => setVerdict(index, verdict));
    return button;
  });
  const note = make("input", { class: "note", type: "text", maxlength: 2000, placeholder: "Note", "aria-label": `Note on ${field.title}` });
  note.value = mark?.note ?? "";
  note.addEventListener("change", () => saveNote(index, note.value));
  const element = make(
    "article",
    { class: "field", tabindex: -1, "data-field": field.name, "data-verdict": mark?.verdict ?? null, "aria-labelledby": heading },
    make("div", { class: "title" }, make("h3", { id: heading }, field.title), make("span", { class: "quiet" }, `by ${field.by}`)),
    field.name === "clues.action_units" ? units(state.clip.action_units) : make("p", { class: "text", dir: "auto" }, field.text),
    make("div", { class: "choices", role: "group", "aria-label": `${field.title}: verdict` }, ...buttons, note),
  );
  element.addEventListener("focusin", () => { state.focus = index; });
  return element;
}

const sentence = (text) => text[0].toUpperCase() + text.slice(1);

function units(list) {
  const rows = list.map((unit) => make(
    "li", {},
    make("b", {}, unit.unit), make("span", {}, unit.name),
    make("meter", { min: 0, max: 5, value: unit.intensity, "aria-label": `${unit.unit} intensity, 0 to 5` }),
    make("span", { class: "value" }, unit.intensity.toFixed(1)),
  ));
  return make("ul", { class: "units" }, ...rows);
}

async function setVerdict(index, verdict) {
  const element = at("fields").children[index];
  await save(index, verdict, element.querySelector(".note").value);
  const next = state.clip.fields.findIndex((field) => !state.clip.marks[field.name]);
  if (next >= 0) {
    state.focus = next;
    focusField(true);
  }
}

async function saveNote(index, note) {
  const mark = state.clip.marks[state.clip.fields[index].name];
  if (mark) await save(index, mark.verdict, note);
  else tell("The note is kept with the verdict: choose one.");
}

async function save(index, verdict, note) {
  const field = state.clip.fields[index].name;
  const number = state.number;
  const clip = state.clip;
  const mark = await ask(`/api/clips/${number}/marks`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ field, verdict, note }),
  });
  if (!clip.marks[field]) state.clips[number].marked += 1;
  clip.marks[field] = mark;
  if (clip === state.clip) showVerdict(index, mark.verdict);
  showProgress();
  tell("");
}

function showVerdict(index, verdict) {
  const element = at("fields").children[index];
  element.dataset.verdict = verdict;
  for (const button of element.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
  }
}

function showProgress() {
  const sum = (name) => state.clips.reduce((total, clip) => total + clip[name], 0);
  const clips = state.clips.filter(isDone).length;
  at("progress").max = sum("fields");
  at("progress").value = sum("marked");
  at("counts").textContent = `${sum("marked")} of ${sum("fields")} fields, ${clips} of ${state.clips.length} clips`;
  const here = state.clips[state.number];
  at("done").hidden = !isDone(here);
  at("onward").hidden = clips === state.clips.length;
  at("done").firstChild.textContent = clips === state.clips.length ? "Every clip is marked. Thank you." : "Every field of this clip is marked. ";
}

function focusField(scroll) {
  at("fields").children[state.focus]?.focus({ preventScroll: !scroll });
}

function tell(text) {
  at("message").textContent = text;
}

function move(step) {
  state.focus = Math.min(Math.max(state.focus + step, 0), state.clip.fields.length - 1);
  focusField(true);
}

function togglePlay() {
  const player = at("player").querySelector("video, audio");
  if (!player) return;
  if (player.paused) player.play();
  else player.pause();
}

const KEYS = {
  r: () => setVerdict(state.focus, "right"),
  w: () => setVerdict(state.focus, "wrong"),
  c: () => setVerdict(state.focus, "cannot tell"),
  j: () => show(state.number + 1),
  k: () => show(state.number - 1),
  ArrowDown: () => move(1),
  ArrowUp: () => move(-1),
  n: () => at("fields").children[state.focus].querySelector(".note").focus(),
  " ": togglePlay,
};

document.addEventListener("keydown", (event) => {
  const inside = event.target.closest("input, video, audio, button");
  const typing = event.target.matches?.("input");
  if (typing && (event.key === "Escape" || event.key === "Enter")) return focusField(false);
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !state.clip) return;
  // Players and buttons have their own meaning for the space bar and the arrows.
  if (inside && !/^[a-z]$/.test(event.key)) return;
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  attempt(action);
});

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    tell(`Not stored: ${error.message}. Is the command still running?`);
  }
}

at("previous").addEventListener("click", () => attempt(() => show(state.number - 1)));
at("next").addEventListener("click", () => attempt(() => show(state.number + 1)));
at("onward").addEventListener("click", () => attempt(() => show(firstUnmarked(state.number))));
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  tell(`Not stored: ${event.reason.message}. Is the command still running?`);
});
attempt(begin);
