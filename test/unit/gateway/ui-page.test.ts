/** What the page at /ui works out before it shows anything: text, minutes, bars, diffs, what to do, and following. */
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { describe, it } from "mocha";
import { diffPayloads, linesMax } from "../../../src/gateway/ui/page/diff.ts";
import { followDecisions, joined, rowsMax, type Row } from "../../../src/gateway/ui/page/follow.ts";
import { minutesMax, minutesOf } from "../../../src/gateway/ui/page/minutes.ts";
import {
  isPassing,
  nextStep,
  problemOf,
  type Outcome,
  type Query,
} from "../../../src/gateway/ui/page/problem.ts";
import { decisionAddress, parseRoute, proposalAddress } from "../../../src/gateway/ui/page/route.ts";
import type { Chain, ChainPage } from "../../../src/gateway/ui/page/shapes.ts";
import { partsOf } from "../../../src/gateway/ui/page/text.ts";
import { waterfallOf } from "../../../src/gateway/ui/page/waterfall.ts";

const plain = (text: string): string =>
  partsOf(text)
    .map((part) => part.text)
    .join("");

describe("text of others on the page", () => {
  it("is left as it is where it can be seen, markup among it", () => {
    for (const text of ["", "user/notes", "<img src=x onerror=alert(1)>", "größer 東京 🎉 &amp;"])
      expect(partsOf(text)).to.deep.equal(text === "" ? [] : [{ kind: "plain", text }]);
  });

  it("has what cannot be seen written out as code points", () => {
    const cases = [
      ["a\u202Eb", "a⟨U+202E⟩b"],
      ["\u200B\u2066x", "⟨U+200B U+2066⟩x"],
      ["a\n\u0000b", "a⟨U+000A U+0000⟩b"],
      ["a\u00A0b c", "a⟨U+00A0⟩b c"],
      ["\u3164\u2800", "⟨U+3164 U+2800⟩"],
      ["v1\uFE0F\u034F", "v1⟨U+FE0F U+034F⟩"],
      ["\u{1D159}", "⟨U+1D159⟩"],
      ["\uD800", "⟨U+D800⟩"],
      ["\u{E0041}", "⟨U+E0041⟩"],
    ] as const;
    for (const [text, wanted] of cases) expect(plain(text)).to.equal(wanted);
  });

  it("is cut after 4,000 characters, and says by how many", () => {
    expect(plain("a".repeat(4_007))).to.equal(`${"a".repeat(4_000)}⟨7 more characters⟩`);
  });
});

describe("decisions by minute", () => {
  it("are counted by verdict in the hour up to the newest, empty minutes too", () => {
    const at = (minute: number, verdict: "allow" | "deny") => ({ timeMs: minute * 60_000 + 59_999, verdict });
    const minutes = minutesOf([at(1_000, "allow"), at(1_000, "deny"), at(941, "deny"), at(940, "allow")]);
    expect(minutes).to.have.length(minutesMax);
    expect(minutes.at(-1)).to.deep.equal({ startSeconds: 60_000, allow: 1, review: 0, deny: 1 });
    expect(minutes[0]).to.deep.equal({ startSeconds: 941 * 60, allow: 0, review: 0, deny: 1 });
    expect(minutes.reduce((sum, { allow, deny }) => sum + allow + deny, 0)).to.equal(3);
    expect(minutesOf([])).to.deep.equal([]);
  });
});

describe("the bars of a decision", () => {
  const features = [
    { feature: "action_risk", value: 0.4, contribution: -2.4 },
    { feature: "level", value: 0.5, contribution: 4 },
  ];

  it("measure the contributions, each from where the one before ended", () => {
    const { bars, threshold, left, right } = waterfallOf({ bias: 1, features, z: 2.6, threshold: 0.5 });
    expect(bars.map(({ name, from, to }) => [name, from, to])).to.deep.equal([
      ["bias", 0, 1],
      ["action_risk", 1, 1 - 2.4],
      ["level", 1 - 2.4, 1 - 2.4 + 4],
    ]);
    expect(threshold).to.equal(0);
    expect([left < -1.4, right > 2.6]).to.deep.equal([true, true]);
  });

  it("end at z where the bias is not known, and are none without features", () => {
    const { bars } = waterfallOf({ bias: undefined, features, z: 2.6, threshold: undefined });
    expect(bars.at(-1)?.to).to.be.closeTo(2.6, 1e-12);
    expect(
      waterfallOf({ bias: undefined, features: [], z: undefined, threshold: undefined }).bars,
    ).to.deep.equal([]);
  });
});

describe("the diff of a proposal", () => {
  const diff = (before: unknown, after: unknown) =>
    diffPayloads(before === undefined ? undefined : JSON.stringify(before), JSON.stringify(after)).lines.map(
      ({ sign, path, value }) => `${sign} ${path} ${value}`,
    );

  it("names every value that changes by its path, and nothing else", () => {
    expect(
      diff({ a: 1, b: { "x.y": [1, 2] }, c: {} }, { a: 1, b: { "x.y": [1, 3, "4"] }, d: null }),
    ).to.deep.equal(['- b["x.y"][1] 2', '+ b["x.y"][1] 3', '+ b["x.y"][2] "4"', "- c {}", "+ d null"]);
    expect(diff({ a: [1, { b: 2 }] }, { a: [1, { b: 2 }] })).to.deep.equal([]);
  });

  it("shows all of a new record, keys of every kind among it", () => {
    expect(diff(undefined, JSON.parse('{"__proto__":1,"":"2"}'))).to.deep.equal([
      '+ [""] "2"',
      "+ __proto__ 1",
    ]);
  });

  it("tells text from numbers, and a list from a map", () => {
    expect(diff({ a: 1, b: [] }, { a: "1", b: {} })).to.deep.equal(["- a 1", '+ a "1"', "- b []", "+ b {}"]);
  });

  it("stops at its bound, and says how much is left", () => {
    const many = JSON.stringify(Array.from({ length: linesMax + 3 }, (_, at) => at));
    const { lines, leftOut } = diffPayloads(undefined, many);
    expect([lines.length, leftOut]).to.deep.equal([linesMax, 3]);
  });
});

/** Relative luminance of #rrggbb, WCAG 2.2. */
const luminance = (colour: string): number =>
  [0.2126, 0.7152, 0.0722].reduce((sum, weight, at) => {
    const part = Number.parseInt(colour.slice(1 + 2 * at, 3 + 2 * at), 16) / 255;
    return sum + weight * (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  }, 0);

describe("the colours of the page", () => {
  const style = readFileSync(new URL("../../../src/gateway/ui/page/page.css", import.meta.url), "utf8");
  const schemes = [...style.matchAll(/:root \{([^}]*)\}/g)].map(
    ([, body = ""]) =>
      new Map([...body.matchAll(/--([a-z-]+): (#[0-9a-f]{6})/g)].map(([, name, value]) => [name, value])),
  );
  const contrast = (colours: (typeof schemes)[number], one: string, other: string): number => {
    const [a, b] = [one, other].map((name) => luminance(colours.get(name) ?? expect.fail(name)));
    return (Math.max(a ?? 0, b ?? 0) + 0.05) / (Math.min(a ?? 0, b ?? 0) + 0.05);
  };

  it("have a contrast of 4.5 for text and 3 for edges, in light and in dark", () => {
    expect(schemes).to.have.length(2);
    for (const colours of schemes) {
      for (const ground of ["ground", "card", "damage-ground", "note-ground"]) {
        for (const text of ["text", "quiet"])
          expect(contrast(colours, text, ground), text).to.be.at.least(4.5);
      }
      for (const ground of ["ground", "card"]) {
        for (const text of ["link", "allow", "review", "deny"])
          expect(contrast(colours, text, ground), text).to.be.at.least(4.5);
        expect(contrast(colours, "edge", ground)).to.be.at.least(3);
      }
    }
  });
});

describe("what comes after #", () => {
  it("leads to the view whose address it is", () => {
    expect(parseRoute(decisionAddress("a/b#c?", "acme/x"))).to.deep.equal({
      kind: "decision",
      id: "a/b#c?",
      tenant: "acme/x",
    });
    expect(parseRoute(decisionAddress("id", ""))).to.deep.equal({ kind: "decision", id: "id", tenant: "" });
    expect(parseRoute(proposalAddress("proposal/1"))).to.deep.equal({ kind: "proposal", id: "proposal/1" });
    expect(
      ["#/ledger", "#/proposals", "", "#x", "#/decisions"].map((hash) => parseRoute(hash).kind),
    ).to.deep.equal(["ledger", "proposals", "decisions", "decisions", "decisions"]);
    expect(parseRoute("#/decisions/%E0%A4%A")).to.deep.equal({ kind: "decision", id: "", tenant: "" });
  });
});

describe("a problem", () => {
  const problem = (status: number, members: object = {}) => problemOf(status, members, null);

  it("is read from whatever came, and says what to do", () => {
    for (const body of [undefined, null, "text", [], { title: 1, facts: "none" }])
      expect(problemOf(502, body, "soon")).to.include({
        title: "Status 502",
        detail: "",
        retrySeconds: undefined,
      });
    expect(problemOf(503, { title: "Unavailable" }, "7")).to.include({
      title: "Unavailable",
      retrySeconds: 7,
    });
    const tooLow = problem(403, { reason: "LEVEL_TOO_LOW", facts: { needed: "observer" } });
    const cases = [
      [tooLow, /level Observer or above/],
      [problem(500, { code: "DATA_LOSS" }), /sigil fsck/],
      [problem(401), /another token/],
      [problem(400, { code: "OUT_OF_RANGE" }), /another one than before/],
      [problemOf(429, {}, "9"), /^Try again after 9 s\.$/],
      [problem(400), /Correct/],
      [problem(500), /server's log/],
    ] as const;
    for (const [each, wanted] of cases) expect(nextStep(each)).to.match(wanted);
    expect([0, 429, 503, 504].every((status) => isPassing(problem(status)))).to.equal(true);
    expect([400, 401, 403, 404, 500].some((status) => isPassing(problem(status)))).to.equal(false);
  });
});

/** A server that has recorded as many decisions as it is told, and a page that follows it. */
class World {
  size = 0;
  readonly asked: Query[] = [];
  readonly told: string[] = [];
  rows: readonly Row[] = [];
  /** What the next answers are instead. */
  readonly problems: Outcome<ChainPage>[] = [];
  readonly #abort = new AbortController();
  readonly sleeps: number[] = [];
  gate: Promise<void> = Promise.resolve();
  /** Called in each sleep; what it does is what happens meanwhile. */
  onSleep: (count: number) => void = () => {};

  #chain(position: number): Chain {
    const record = { position: String(position) };
    return { auditId: `id-${position}`, record } as Chain;
  }

  #page({
    order,
    from_position: from = "0",
    page_size: pageSize = "0",
    page_token: token = "",
  }: Query): ChainPage {
    const count = Number(pageSize);
    if (order === "LIST_ORDER_OLDEST_FIRST") {
      const [first, end] = [Number(from), Math.min(this.size, Number(from) + count)];
      const chains = Array.from({ length: end - first }, (_, at) => this.#chain(first + at));
      return { chains, nextPageToken: end < this.size ? "more" : "", resumePosition: String(end) };
    }
    const last = token === "" ? this.size : Number(token);
    const first = Math.max(0, last - count);
    const chains = Array.from({ length: last - first }, (_, at) => this.#chain(last - 1 - at));
    return { chains, nextPageToken: first === 0 ? "" : String(first), resumePosition: String(this.size) };
  }

  follow(): Promise<void> {
    return followDecisions({
      ask: {
        get: async <Body>(path: string, query: Query): Promise<Outcome<Body>> => {
          expect(path).to.equal("/audit");
          this.asked.push(query);
          const failed = this.problems.shift();
          const outcome: Outcome<ChainPage> = failed ?? { kind: "answer", body: this.#page(query) };
          return outcome as Outcome<Body>;
        },
      },
      filters: { action: "read" },
      signal: this.#abort.signal,
      onRows: (rows, place) => {
        this.rows = joined(this.rows, rows, place);
      },
      onProblem: (problem) => this.told.push(problem?.title ?? "over"),
      opened: () => this.gate,
      sleep: async (ms) => {
        this.sleeps.push(ms);
        this.onSleep(this.sleeps.length);
      },
      isPassing,
    });
  }

  stop(): void {
    this.#abort.abort();
  }

  get ids(): readonly number[] {
    return this.rows.map(({ position }) => Number(position));
  }
}

const upTo = (size: number): readonly number[] => Array.from({ length: size }, (_, at) => size - 1 - at);

describe("following the list", () => {
  it("shows each decision once and in order, however many come between two questions", async () => {
    const world = new World();
    world.size = 150;
    world.onSleep = (count) => {
      world.size += [0, 3, 0, 420, 1][count] ?? 0;
      if (count > 6) world.stop();
    };
    await world.follow();
    expect(world.ids).to.deep.equal(upTo(574));
    expect(world.asked.every(({ action }) => action === "read")).to.equal(true);
  });

  it("asks the next page of a burst at once, and sleeps only when there is no more", async () => {
    const world = new World();
    world.onSleep = (count) => {
      if (count === 1) world.size = 250;
      else world.stop();
    };
    await world.follow();
    expect(world.asked.map(({ from_position: from = "" }) => from)).to.deep.equal(["", "0", "100", "200"]);
    expect(world.sleeps).to.have.length(2);
  });

  it("holds the newest rows alone", async () => {
    const world = new World();
    world.onSleep = (count) => {
      if (count === 1) world.size = rowsMax + 500;
      else world.stop();
    };
    await world.follow();
    expect(world.rows).to.have.length(rowsMax);
    expect(world.ids).to.deep.equal(upTo(rowsMax + 500).slice(0, rowsMax));
  });

  it("asks nothing while the gate is closed", async () => {
    const world = new World();
    const { promise, resolve } = Promise.withResolvers<void>();
    world.gate = promise;
    const ended = world.follow();
    for (let turns = 0; turns < 20; turns += 1) await new Promise((turn) => setImmediate(turn));
    expect(world.asked).to.deep.equal([]);
    world.onSleep = () => world.stop();
    resolve();
    await ended;
    expect(world.asked).to.have.length(1);
  });

  it("asks again what may be asked again, after as long as the server says, and misses nothing", async () => {
    const world = new World();
    world.size = 2;
    const busy = { kind: "problem", problem: problemOf(429, { title: "Too much at once" }, "9") } as const;
    world.onSleep = (count) => {
      if (count === 1) {
        world.size = 5;
        world.problems.push(busy, busy);
      }
      if (count === 4) world.stop();
    };
    await world.follow();
    expect(world.told).to.deep.equal(["Too much at once", "Too much at once", "over"]);
    expect(world.sleeps.slice(1, 3)).to.deep.equal([9_000, 9_000]);
    expect(world.ids).to.deep.equal(upTo(5));
  });

  it("ends at what a repeat does not mend", async () => {
    const world = new World();
    world.problems.push({ kind: "problem", problem: problemOf(500, { title: "Data loss" }, null) });
    await world.follow();
    expect([world.told, world.asked.length]).to.deep.equal([["Data loss"], 1]);
  });
});
