// The smaller parts of the page. What arrives is data: it becomes text, never markup.

const element = (name, className = "", text = "") => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
};
export const $ = (id) => document.getElementById(id);
const percent = (share) => `${Math.round(share * 100)}%`;

/** One bar for each label. */
export class Scores {
  #rows = new Map();

  constructor(list) {
    this.list = list;
  }

  show(state) {
    const names = Object.keys(state.scores);
    if (names.length && names.join() !== [...this.#rows.keys()].join()) this.#make(names);
    for (const [name, row] of this.#rows) {
      const score = state.scores[name];
      row.bar.style.transform = `scaleX(${score ?? 0})`;
      row.value.textContent = score === undefined ? "–" : percent(score);
      row.item.classList.toggle("told-now", name === state.label);
    }
  }

  #make(names) {
    this.#rows.clear();
    for (const name of names) {
      const item = element("li");
      const [bar, value] = [element("i"), element("span", "value")];
      const track = element("span", "bar");
      item.dataset.label = name;
      track.append(bar);
      item.append(element("span", "", name), track, value);
      this.#rows.set(name, { item, bar, value });
    }
    this.list.replaceChildren(...[...this.#rows.values()].map((row) => row.item));
  }
}

/** Valence and arousal: where the person is now, and where they were in the last ten seconds. */
export class Affect {
  #trail = [];

  show(state) {
    const dot = $("dot");
    if (!Object.keys(state.scores).length) {
      dot.setAttribute("visibility", "hidden");
      this.#trail = [];
      $("affect-words").textContent = "Nothing to tell";
    } else {
      const [x, y] = [state.valence * 100, -state.arousal * 100];
      dot.setAttribute("visibility", "visible");
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", y);
      $("affect").dataset.label = state.label;
      this.#trail = [...this.#trail, [x, y]].slice(-20);
      $("affect-words").textContent = words(state.valence, state.arousal);
    }
    $("trail").replaceChildren(...this.#trail.slice(0, -1).map(([x, y], i) => this.#speck(x, y, i)));
  }

  #speck(x, y, i) {
    const speck = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    speck.setAttribute("cx", x);
    speck.setAttribute("cy", y);
    speck.setAttribute("r", 3);
    speck.setAttribute("opacity", 0.1 + (0.45 * i) / this.#trail.length);
    return speck;
  }
}

function words(valence, arousal) {
  const much = (value, low, high) =>
    Math.abs(value) < 0.15 ? "" : `${Math.abs(value) > 0.5 ? "very " : ""}${value < 0 ? low : high}`;
  const said = [much(valence, "unpleasant", "pleasant"), much(arousal, "calm", "excited")].filter(Boolean);
  const text = said.join(", ") || "balanced";
  return text[0].toUpperCase() + text.slice(1);
}

/** Which senses the latest label came from. */
export function showSenses(used, list = $("used")) {
  for (const item of list.children) {
    const on = used.includes(item.dataset.sense);
    item.classList.toggle("on", on);
    item.querySelector("b").textContent = on ? "✓" : "–";
    item.querySelector(".unseen").textContent = on ? "used" : "not used";
  }
}

/** The level meter; null is no sound at all. */
export function showLevel(level) {
  const meter = $("meter");
  const rms = level ? Math.max(-60, Math.min(0, level.rms)) : -60;
  const peak = level ? Math.max(-60, Math.min(0, level.peak)) : -60;
  const word = !level ? "no sound" : level.peak > -1 ? "too loud" : rms > -14 ? "loud" : rms > -45 ? "audible" : rms > -59 ? "quiet" : "silent";
  $("rms").style.transform = `scaleX(${(rms + 60) / 60})`;
  $("peak").style.left = `${((peak + 60) / 60) * 100}%`;
  $("peak").style.visibility = level && peak > -60 ? "visible" : "hidden";
  meter.classList.toggle("loud", word === "too loud");
  meter.setAttribute("aria-valuenow", Math.round(rms));
  meter.setAttribute("aria-valuetext", word);
  $("sound-word").textContent = word;
}

const LEVELS = [["good", "well"], ["warn", "check"], ["bad", "fails"], ["still", "idle"]];
const NAMES = {
  perception: "Perception", inputs: "Inputs", adaptation: "Person", speech: "Speech to text", pipeline: "Model pace",
  reasoning: "Reasoning", model: "Model", process: "Process",
};

/** A folder in brackets: of no interest to a visitor. */
const FOLDER = / \(\/[^)]*\)/;

/** /diagnostics: a line an entry, its values below when it is opened. */
export class Health {
  #items = new Map();

  show(entries) {
    const names = entries.map((entry) => entry.name);
    if (names.join() !== [...this.#items.keys()].join()) this.#make(names);
    for (const entry of entries) this.#fill(this.#items.get(entry.name), entry);
    this.#figures(Object.fromEntries(entries.map((entry) => [entry.name, entry.values])));
  }

  #make(names) {
    this.#items.clear();
    for (const name of names) {
      const [item, details, summary] = [element("li"), element("details"), element("summary")];
      const [level, message, table] = [element("span", "level"), element("span", "message"), element("table")];
      summary.append(element("span", "", NAMES[name] ?? name), level, message);
      details.append(summary, table);
      item.append(details);
      this.#items.set(name, { item, details, level, message, table });
    }
    $("entries").replaceChildren(...[...this.#items.values()].map((each) => each.item));
  }

  #fill(row, entry) {
    const [tone, word] = LEVELS[entry.level] ?? LEVELS[3];
    row.item.dataset.tone = tone;
    row.level.textContent = word;
    row.message.textContent = entry.message.replace(FOLDER, ""); // the whole of it is in the values
    if (!row.details.open && row.table.rows.length) return;
    row.table.replaceChildren(
      ...Object.entries(entry.values).map(([key, value]) => {
        const line = element("tr");
        const head = element("th", "", key);
        head.scope = "row";
        line.append(head, element("td", "", value));
        return line;
      }),
    );
  }

  #figures(values) {
    const show = (id, text) => ($(id).textContent = text ?? "–");
    const total = /p50 ([\d.]+)/.exec(values.pipeline?.["stage total"] ?? "");
    show("rate", values.perception?.["window rate"]?.replace(" Hz", ""));
    show("model-time", total ? `${Math.round(Number(total[1]))} ms` : undefined);
    show("processor", values.process?.processor);
    show("memory", values.process?.memory?.replace(/\.\d+/, ""));
  }
}
