// The two ways from the server: events, and pictures that are asked for one by one. Both come back by themselves.

const KINDS = ["hello", "link", "paused", "state", "reasoning", "level", "health", "beat"];
const SILENCE_MS = 6000; // the server says something every 2 s
const AGAIN_MS = 1000;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const query = (source) => (source === null ? "" : `source=${encodeURIComponent(source)}`);

/** Server-sent events of one source, for as long as the page can be seen. */
export class Events {
  #stream = null;
  #again = 0;
  #heard = 0;

  /** @param {(kind: string, data: any) => void} onEvent @param {(up: boolean) => void} onLink */
  constructor(onEvent, onLink) {
    this.onEvent = onEvent;
    this.onLink = onLink;
    this.source = null;
    setInterval(() => this.#watch(), 1000);
    document.addEventListener("visibilitychange", () => (document.hidden ? this.close() : this.open()));
  }

  open() {
    this.close();
    this.#heard = performance.now();
    this.#stream = new EventSource(`/events?${query(this.source)}`);
    for (const kind of KINDS) {
      this.#stream.addEventListener(kind, (event) => this.#take(kind, event.data));
    }
    this.#stream.onerror = () => this.#lost();
  }

  close() {
    clearTimeout(this.#again);
    this.#stream?.close();
    this.#stream = null;
  }

  #take(kind, text) {
    this.#heard = performance.now();
    this.onLink(true);
    if (kind !== "beat") this.onEvent(kind, JSON.parse(text));
  }

  #watch() {
    if (this.#stream && performance.now() - this.#heard > SILENCE_MS) this.#lost();
  }

  #lost() {
    this.close();
    this.onLink(false);
    this.#again = setTimeout(() => this.#retry(), AGAIN_MS);
  }

  async #retry() {
    try {
      const answer = await fetch("/", { cache: "no-store" });
      if (answer.status === 401) location.reload(); // the token is another one now: the page says so
      else if (!document.hidden) this.open();
    } catch {
      this.#again = setTimeout(() => this.#retry(), AGAIN_MS);
    }
  }
}

/** Pictures of one source: the next is asked for when the one before is drawn, so none is ever late. */
export class Pictures {
  #stop = null;

  /** @param {(bitmap: ImageBitmap) => void} onPicture */
  constructor(onPicture) {
    this.onPicture = onPicture;
  }

  get running() {
    return this.#stop !== null;
  }

  start(source) {
    this.stop();
    this.#stop = new AbortController();
    this.#run(source, this.#stop.signal);
  }

  stop() {
    this.#stop?.abort();
    this.#stop = null;
  }

  async #run(source, signal) {
    for (let after = 0; !signal.aborted; ) {
      try {
        const answer = await fetch(`/frame.jpg?after=${after}&${query(source)}`, { signal });
        if (answer.status === 200) {
          after = Number(answer.headers.get("X-Frame"));
          const bitmap = await createImageBitmap(await answer.blob());
          if (!signal.aborted) this.onPicture(bitmap);
        } else {
          await pause(answer.status === 204 ? 200 : AGAIN_MS);
        }
      } catch {
        await pause(AGAIN_MS);
      }
    }
  }
}

/** Press a button; returns {success, message}, also where that fails. */
export async function press(action, source) {
  try {
    const answer = await fetch("/do", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(source === null ? { action } : { action, source }),
    });
    const said = await answer.json();
    return said.error ? { success: false, message: `That did not work: ${said.error}.` } : said;
  } catch {
    return { success: false, message: "The dashboard cannot be reached." };
  }
}
