// Search in pages that are opened from a folder, where browsers start no workers: a hidden frame takes the place of the worker.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      frame.hidden = true;
      document.body.append(frame);
      this.window = frame.contentWindow;
      this.waiting = [];
      const inner = this.window.document;
      inner.open();
      inner.write("<!doctype html><body></body>");
      inner.close();
      // What the worker posts arrives here, as an event of this object.
      this.window.postMessage = (data) => this.answer(data);
      this.window.importScripts = (...urls) =>
        urls.reduce((before, one) => before.then(() => load(inner, one)), Promise.resolve());
      load(inner, url).then(() => {
        this.ready = true;
        this.waiting.forEach((data) => this.postMessage(data));
      });
    }
    answer(data) {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      this.onmessage?.(event);
    }
    postMessage(data) {
      if (!this.ready) return this.waiting.push(data);
      this.window.dispatchEvent(new this.window.MessageEvent("message", { data }));
    }
    terminate() {
      this.window.frameElement.remove();
    }
  };
  const load = (inner, url) =>
    new Promise((resolve, reject) => {
      const script = inner.createElement("script");
      script.src = url;
      script.onload = resolve;
      script.onerror = reject;
      inner.body.append(script);
    });
}
