/**
 * Headless Chromium as a person uses it: typed keys, what is seen, what is asked for. Driven by the DevTools protocol
 * over a pipe, so that no port is opened and nothing but this process speaks to it.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { inflateSync } from "node:zlib";

/** Where Chromium is; undefined on a machine without it. */
export const chromium = (process.env["PATH"] ?? "")
  .split(delimiter)
  .map((folder) => join(folder, "chromium"))
  .find((path) => existsSync(path));

export const whyNoBrowser =
  chromium === undefined ? " (skipped: no Chromium: scripts/services.sh install openapi)" : "";

type Message = {
  readonly id?: number;
  readonly method?: string;
  readonly sessionId?: string;
  readonly params?: Seen;
  readonly result?: Seen;
  readonly error?: { readonly message: string };
};

/** What the protocol answers, as tests look at it. */
export interface Seen {
  readonly [name: string]: unknown;
}

const flags = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--no-first-run",
  "--remote-debugging-pipe",
  // What the browser asks for itself finds nobody.
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

const waitMsMax = 30_000;
const askMs = 50;

/** Of a PNG's pixels: how many different bytes there are. A page of one colour has a handful. */
export const bytesIn = (png: Buffer): number => {
  const parts: Buffer[] = [];
  for (let at = 8; at < png.length; at += 12 + png.readUInt32BE(at)) {
    if (png.toString("latin1", at + 4, at + 8) === "IDAT")
      parts.push(png.subarray(at + 8, at + 8 + png.readUInt32BE(at)));
  }
  return new Set(inflateSync(Buffer.concat(parts))).size;
};

const endedBefore = (method: string): Error => new Error(`${method}: Chromium ended before it answered`);

/** One page at a time, each in a context of its own. */
export class Browser implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #waiting = new Map<
    number,
    { readonly method: string; readonly answer: PromiseWithResolvers<Seen> }
  >();
  readonly #closed: Promise<void>;
  #isClosed = false;
  #sent = 0;
  /** Of the page; empty while there is none. */
  #session = "";
  #context = "";
  #answered = "";
  /** Every URL that the page asked for. */
  asked: string[] = [];
  /** Violations of policy, uncaught errors, and whatever else Chromium's console says. */
  complaints: string[] = [];

  private constructor(child: ChildProcess, profile: string) {
    this.#child = child;
    this.#profile = profile;
    this.#closed = new Promise((resolve) => {
      child.once("close", () => {
        this.#isClosed = true;
        for (const { method, answer } of this.#waiting.values()) answer.reject(endedBefore(method));
        this.#waiting.clear();
        resolve();
      });
    });
    // A write to a Chromium that has ended: its end is told by "close".
    (child.stdio[3] as Writable).on("error", () => {});
    let rest = "";
    (child.stdio[4] as Readable).setEncoding("utf8").on("data", (text: string) => {
      const messages = (rest + text).split("\0");
      rest = messages.pop() ?? "";
      for (const each of messages) this.#receive(JSON.parse(each) as Message);
    });
  }

  static async open(path: string): Promise<Browser> {
    const profile = await mkdtemp(join(tmpdir(), "sigil-browser-"));
    const child = spawn(path, [...flags, `--user-data-dir=${profile}`], {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
    });
    return new Browser(child, profile);
  }

  /** Of the same size as any, and with nothing of the page before. */
  async openPage(): Promise<void> {
    [this.asked, this.complaints] = [[], []];
    const { browserContextId } = await this.send("Target.createBrowserContext");
    const target = { url: "about:blank", browserContextId };
    const { targetId } = await this.send("Target.createTarget", target);
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    [this.#session, this.#context] = [String(sessionId), String(browserContextId)];
    for (const domain of ["Page", "Runtime", "Network", "Log"]) await this.send(`${domain}.enable`);
    await this.send("Emulation.setScrollbarsHidden", { hidden: true });
    await this.size(1280, 900);
  }

  async closePage(): Promise<void> {
    this.#session = "";
    await this.send("Target.disposeBrowserContext", { browserContextId: this.#context });
  }

  send(method: string, params: object = {}): Promise<Seen> {
    if (this.#isClosed) return Promise.reject(endedBefore(method));
    const id = (this.#sent += 1);
    const answer = Promise.withResolvers<Seen>();
    this.#waiting.set(id, { method, answer });
    const session = this.#session === "" ? {} : { sessionId: this.#session };
    (this.#child.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    return answer.promise;
  }

  #receive(message: Message): void {
    const { id, method, params = {}, sessionId } = message;
    if (id !== undefined) this.#settle(id, message);
    if (sessionId !== this.#session) return;
    if (method === "Network.requestWillBeSent") this.asked.push(String((params["request"] as Seen)["url"]));
    if (method === "Runtime.exceptionThrown" || method === "Runtime.consoleAPICalled")
      this.complaints.push(JSON.stringify(params));
    if (method === "Fetch.requestPaused")
      this.#fulfil(String(params["requestId"])).catch((error: unknown) =>
        this.complaints.push(String(error)),
      );
    const entry = params["entry"] as Seen | undefined;
    // An answer that is a problem is logged too, and is none of the page's.
    if (method === "Log.entryAdded" && entry?.["source"] !== "network")
      this.complaints.push(JSON.stringify(entry));
  }

  #settle(id: number, { result, error }: Message): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (result === undefined) waiting?.answer.reject(new Error(`${waiting.method}: ${error?.message}`));
    else waiting?.answer.resolve(result);
  }

  async go(url: string): Promise<void> {
    await this.send("Page.navigate", { url });
  }

  /** From here on answers what is asked of a pattern of URLs itself. */
  async answer(urlPattern: string, body: object): Promise<void> {
    this.#answered = Buffer.from(JSON.stringify(body)).toString("base64");
    await this.send("Fetch.enable", { patterns: [{ urlPattern }] });
  }

  async #fulfil(requestId: string): Promise<void> {
    const responseHeaders = [{ name: "content-type", value: "application/json" }];
    await this.send("Fetch.fulfillRequest", {
      requestId,
      responseCode: 200,
      responseHeaders,
      body: this.#answered,
    });
  }

  /** @param script an expression; what it comes to is JSON. */
  async evaluate<Value>(script: string): Promise<Value> {
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", {
      expression: script,
      returnByValue: true,
      awaitPromise: true,
    });
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { readonly value: Value }).value;
  }

  /** What the page shows. */
  text(): Promise<string> {
    return this.evaluate("document.body?.innerText ?? ''");
  }

  /** Until an expression is true. @throws what the page shows instead. */
  async until(script: string): Promise<void> {
    const endMs = performance.now() + waitMsMax;
    while (performance.now() < endMs) {
      if (await this.evaluate<boolean>(`Boolean(${script})`)) return;
      await new Promise((resolve) => setTimeout(resolve, askMs));
    }
    throw new Error(`never came true: ${script}\n${await this.text()}\n${this.complaints.join("\n")}`);
  }

  untilText(text: string): Promise<void> {
    return this.until(`document.body?.innerText.includes(${JSON.stringify(text)})`);
  }

  async press(key: "Tab" | "Enter" | " ", modifiers: { readonly shift?: boolean } = {}): Promise<void> {
    const codes = { Tab: 9, Enter: 13, " ": 32 };
    const text = key === "Tab" ? {} : { text: key === "Enter" ? "\r" : " " };
    const event = {
      key,
      code: key === " " ? "Space" : key,
      windowsVirtualKeyCode: codes[key],
      modifiers: modifiers.shift === true ? 8 : 0,
    };
    await this.send("Input.dispatchKeyEvent", { type: "keyDown", ...event, ...text });
    await this.send("Input.dispatchKeyEvent", { type: "keyUp", ...event });
  }

  /** Types into whatever has the focus. */
  async type(text: string): Promise<void> {
    await this.send("Input.insertText", { text });
  }

  /** Presses Tab until what a selector names has the focus. */
  async tabTo(selector: string): Promise<void> {
    const stopsMax = 60;
    for (let stops = 0; stops < stopsMax; stops += 1) {
      if (
        await this.evaluate<boolean>(`document.activeElement?.matches(${JSON.stringify(selector)}) ?? false`)
      )
        return;
      await this.press("Tab");
    }
    throw new Error(`no Tab leads to ${selector}`);
  }

  async size(widthPx: number, heightPx: number): Promise<void> {
    const metrics = { width: widthPx, height: heightPx, deviceScaleFactor: 1, mobile: false };
    await this.send("Emulation.setDeviceMetricsOverride", metrics);
  }

  async scheme(value: "light" | "dark"): Promise<void> {
    const features = [{ name: "prefers-color-scheme", value }];
    await this.send("Emulation.setEmulatedMedia", { features });
  }

  /** The whole page as PNG. */
  async screenshot(): Promise<Buffer> {
    const { data } = await this.send("Page.captureScreenshot", { captureBeyondViewport: true });
    return Buffer.from(String(data), "base64");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#session = "";
    // It may end before it answers, or have ended.
    await this.send("Browser.close").catch(() => this.#child.kill());
    await this.#closed;
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }
}
