// What the robot perceives, as it perceives it.

import { Events, Pictures, press } from "./link.js";
import { Minute } from "./minute.js";
import { $, Affect, Health, Scores, showLevel, showSenses } from "./parts.js";

const NO_PICTURE_MS = 3000;
const ANSWER_MS = 7000;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const minute = new Minute($("minute"), $("legend"));
const scores = new Scores($("scores"));
const affect = new Affect();
const health = new Health();
const pictures = new Pictures(drawPicture);
const events = new Events(take, (up) => { if (up !== now.up) { now.up = up; settle(); } });

/** All that is known now. */
const now = { up: false, link: "looking", paused: false, state: null, why: null, pictureAt: -1e9, levelAt: -1e9 };

// --- what arrives

function take(kind, data) {
  ({ hello, link, paused, state, reasoning, level, health: (entries) => health.show(entries) })[kind](data);
}

function hello(data) {
  const named = data.sources.length > 1;
  $("source-choice").hidden = !named;
  if (!named || $("source").options.length) return;
  $("source").replaceChildren(...data.sources.map((name) => new Option(name)));
}

function link(word) {
  now.link = word;
  if (word === "gone" || word === "inactive") now.state = null;
  settle();
}

function paused(is) {
  now.paused = is;
  if (is) forget();
  settle();
}

function state(data) {
  now.state = data;
  now.link = "active";
  if (!now.paused || data.paused) minute.add(data);
  if (calm.matches) minute.draw();
  settle();
}

function reasoning(data) {
  if (now.paused) return;
  now.why = { ...data, at: now.why?.sequence === data.sequence ? now.why.at : performance.now() };
  $("why-text").textContent = data.text;
  $("why-text").classList.remove("quiet");
  $("why").parentElement.classList.toggle("writing", !data.final);
  showWhyAbout();
}

function level(data) {
  now.levelAt = performance.now();
  showLevel(data);
}

// --- what is shown

/** Everything that follows from what is known. */
function settle() {
  const seen = now.up && now.link === "active" && !now.paused;
  if (seen && !pictures.running) pictures.start(events.source);
  if (!seen && pictures.running) { pictures.stop(); blankPicture(); }
  const state = now.state ?? { label: "", scores: {}, used: [] };
  const [title, line] = words();
  if ($("title").textContent !== title) $("title").textContent = title;
  $("line").textContent = line;
  $("told").dataset.label = seen ? state.label : "";
  const shown = seen ? state : { ...state, label: "", scores: {}, used: [] };
  scores.show(shown);
  affect.show(shown);
  showSenses(shown.used);
  showTrouble(seen && state.status === 1 ? state.trouble : "");
  showTone();
  $("latency").textContent = seen && state.status < 2 && state.latency_ms !== undefined ? `${Math.round(state.latency_ms)} ms` : "–";
  showControls();
}

/** Title and line over the picture, in plain words. */
function words() {
  if (!now.up) return ["Reconnecting", "The dashboard does not answer. This page goes on by itself when it does."];
  if (now.paused) return ["Paused", "The robot neither looks nor listens, and has forgotten what it saw and heard."];
  if (now.link === "gone") return ["Not running", "The perception node is not running. This page goes on by itself when it is back."];
  if (now.link === "inactive") return ["Not active", "The perception node runs and is not active yet."];
  if (!now.state) return ["One moment", "Looking for the perception node."];
  return [now.state.title, now.state.line];
}

function showTone() {
  const status = now.state?.status ?? 2;
  const [tone, word] = !now.up ? ["bad", "Reconnecting"]
    : now.paused ? ["still", "Paused"]
    : now.link === "gone" ? ["bad", "Not running"]
    : now.link === "inactive" ? ["still", "Not active"]
    : now.link === "looking" || !now.state ? ["wait", "Connecting"]
    : [["good", "Perceiving"], ["warn", "Perceiving with less"], ["warn", "No input"]][status];
  $("connection").dataset.tone = tone;
  if ($("connection-word").textContent !== word) $("connection-word").textContent = word;
}

function showTrouble(text) {
  $("trouble").hidden = !text;
  if ($("trouble").textContent !== text) $("trouble").textContent = text;
}

function showControls() {
  const there = now.up && (now.link === "active" || now.link === "inactive");
  $("pause").disabled = !there;
  $("pause").textContent = now.paused ? "Resume" : "Pause";
  for (const id of ["new_person", "set_neutral"]) $(id).disabled = !there || now.paused || now.link !== "active";
}

function showWhyAbout() {
  if (!now.why) return;
  const seconds = Math.round((performance.now() - now.why.at) / 1000);
  const when = !now.why.final ? "being written" : seconds < 2 ? "just now" : `${seconds} s ago`;
  $("why-about").textContent = `About “${now.why.label}”, ${when}`;
}

function forget() {
  now.why = null;
  minute.clear();
  $("why-text").textContent = "An explanation follows the first label.";
  $("why-text").classList.add("quiet");
  $("why-about").textContent = "";
  $("why").parentElement.classList.remove("writing");
  showLevel(null);
}

// --- the picture

function drawPicture(bitmap) {
  const canvas = $("picture");
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
  now.pictureAt = performance.now();
  $("screen").dataset.picture = "live";
}

function blankPicture() {
  const canvas = $("picture");
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  $("screen").dataset.picture = "none";
  $("blank").textContent = now.up && now.link === "active" && !now.paused ? "No picture comes from the camera." : "";
}

// --- buttons

for (const id of ["pause", "new_person", "set_neutral"]) {
  $(id).addEventListener("click", async () => {
    const said = await press(id === "pause" && now.paused ? "resume" : id, events.source);
    $("answer").textContent = said.message;
    $("answer").classList.toggle("refused", !said.success);
    clearTimeout(now.answer);
    now.answer = setTimeout(() => ($("answer").textContent = ""), ANSWER_MS);
  });
}
$("source").addEventListener("change", () => {
  events.source = $("source").value;
  now.state = null;
  now.link = "looking";
  pictures.stop();
  forget();
  events.open();
});

// --- time passes

let drawnAt = 0;
function frame(at) {
  if (!calm.matches && at - drawnAt > 90) {
    drawnAt = at;
    minute.draw();
  }
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
setInterval(() => {
  const at = performance.now();
  if (at - now.pictureAt > NO_PICTURE_MS) blankPicture();
  if (at - now.levelAt > 1500) showLevel(null);
  if (calm.matches) minute.draw();
  showWhyAbout();
  $("minute").setAttribute("aria-label", `How likely each label was over the last minute. Told: ${minute.words() || "nothing yet"}.`);
}, 1000);
document.addEventListener("visibilitychange", () => { if (document.hidden) { pictures.stop(); blankPicture(); } else settle(); });
events.open();
