// The last minute: how likely each label was, as areas that add up to the whole, and which one was told.

const SPAN_MS = 60_000;
const GAP_MS = 2500; // states come once a second at least
const RIBBON = 10;

export class Minute {
  #states = []; // {at, scores, label}

  constructor(canvas, legend) {
    this.canvas = canvas;
    this.legend = legend;
    this.names = [];
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Take a state; one without scores is a gap. */
  add(state, at = performance.now()) {
    this.#states.push({ at, scores: state.scores, label: state.label });
    while (this.#states.length && at - this.#states[0].at > SPAN_MS + GAP_MS) this.#states.shift();
    const names = Object.keys(state.scores);
    if (names.length && names.join() !== this.names.join()) this.#name(names);
  }

  clear() {
    this.#states = [];
    this.draw();
  }

  #name(names) {
    this.names = names;
    this.legend.replaceChildren(
      ...names.map((name) => {
        const item = document.createElement("li");
        item.dataset.label = name;
        item.textContent = name;
        return item;
      }),
    );
  }

  /** Say in words how long each label was told. */
  words() {
    const told = new Map();
    for (const [state, next] of this.#pairs()) {
      told.set(state.label, (told.get(state.label) ?? 0) + Math.min(next.at - state.at, GAP_MS));
    }
    const parts = [...told].filter(([, ms]) => ms >= 500).sort((a, b) => b[1] - a[1]);
    return parts.map(([name, ms]) => `${name} ${Math.round(ms / 1000)} s`).join(", ");
  }

  *#pairs() {
    for (let i = 0; i + 1 < this.#states.length; i++) yield [this.#states[i], this.#states[i + 1]];
  }

  draw(now = performance.now()) {
    const scale = devicePixelRatio || 1;
    const width = this.canvas.clientWidth;
    const height = this.canvas.clientHeight;
    if (!width) return;
    if (this.canvas.width !== Math.round(width * scale) || this.canvas.height !== Math.round(height * scale)) {
      this.canvas.width = Math.round(width * scale);
      this.canvas.height = Math.round(height * scale);
    }
    const style = getComputedStyle(this.canvas);
    const colour = (name) => style.getPropertyValue(`--${name}`) || style.getPropertyValue("--other");
    const pen = this.canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    const plot = { width, height: height - 20 - RIBBON - 4 };
    const x = (at) => width * (1 - (now - at) / SPAN_MS);
    pen.fillStyle = colour("track");
    pen.globalAlpha = 0.45;
    pen.fillRect(0, 0, width, plot.height);
    pen.globalAlpha = 1;
    this.#areas(pen, plot, x, now, colour);
    this.#ribbon(pen, plot.height + 4, x, now, colour);
    this.#axis(pen, width, height, colour);
  }

  /** Each stretch without a gap is one set of areas, with a line of the ground between neighbours. */
  #areas(pen, plot, x, now, colour) {
    for (const stretch of this.#stretches(now)) {
      const below = stretch.map(() => 0);
      for (const name of this.names) {
        const lower = [...below];
        stretch.forEach((state, i) => (below[i] += state.scores[name] ?? 0));
        pen.beginPath();
        stretch.forEach((state, i) => pen.lineTo(x(state.at), plot.height * (1 - below[i])));
        for (let i = stretch.length - 1; i >= 0; i--) pen.lineTo(x(stretch[i].at), plot.height * (1 - lower[i]));
        pen.closePath();
        pen.globalAlpha = 0.9;
        pen.fillStyle = colour(name);
        pen.fill();
        pen.globalAlpha = 1;
        pen.strokeStyle = colour("card");
        pen.lineWidth = 1;
        pen.stroke();
      }
    }
  }

  #stretches(now) {
    const made = [[]];
    let before = null;
    for (const state of this.#states) {
      const gap = !Object.keys(state.scores).length || (before && state.at - before.at > GAP_MS);
      if (gap && made.at(-1).length) made.push([]);
      if (Object.keys(state.scores).length) made.at(-1).push(state);
      before = state;
    }
    const last = made.at(-1).at(-1);
    // The present is what the latest state says, until it is too old to go on saying it.
    if (last && last === before && now - last.at < GAP_MS) made.at(-1).push({ ...last, at: now });
    return made.filter((stretch) => stretch.length > 1);
  }

  #ribbon(pen, top, x, now, colour) {
    pen.fillStyle = colour("track");
    pen.fillRect(0, top, x(now), RIBBON);
    const last = this.#states.at(-1);
    const pairs = [...this.#pairs(), ...(last ? [[last, { at: Math.min(now, last.at + GAP_MS) }]] : [])];
    for (const [state, next] of pairs) {
      const [from, to] = [x(state.at), x(Math.min(next.at, state.at + GAP_MS))];
      if (this.names.includes(state.label)) {
        pen.fillStyle = colour(state.label);
        pen.fillRect(from, top, to - from + 0.5, RIBBON);
      } else if (state.label === "uncertain") {
        pen.fillStyle = colour("quiet");
        for (let at = from; at < to; at += 4) pen.fillRect(at, top, 2, RIBBON);
      }
    }
  }

  #axis(pen, width, height, colour) {
    pen.fillStyle = colour("quiet");
    pen.font = `12px ${getComputedStyle(document.documentElement).fontFamily}`;
    pen.textBaseline = "alphabetic";
    for (const seconds of width < 420 ? [60, 30, 0] : [60, 45, 30, 15, 0]) {
      pen.textAlign = seconds === 60 ? "left" : seconds === 0 ? "right" : "center";
      const text = seconds === 0 ? "now" : seconds === 60 ? "a minute ago" : `${seconds} s`;
      pen.fillText(text, width * (1 - seconds / 60), height - 3);
    }
  }
}
