/** Lines that callers cause: so many a reason, the rest counted. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { limitLines } from "../../../src/log/limit.ts";
import { logLinesBurst, logLinesPerSecond, logReasonsMax } from "../../../src/limits.ts";

const made = () => {
  const lines: { readonly level: string; readonly fields: object; readonly message: string }[] = [];
  const as = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, fields, message });
  const log = {
    isLevelEnabled: () => true,
    debug: as("debug"),
    info: as("info"),
    warn: as("warn"),
    error: as("error"),
  };
  const clock = { ms: 0 };
  const timers: (() => void)[] = [];
  const limited = limitLines(
    log,
    () => clock.ms,
    (tell) => void timers.push(tell),
  );
  return { lines, clock, limited, summary: () => timers.splice(0).forEach((tell) => tell()) };
};

const refused = (kind: string, id: number) => ({
  kind,
  code: "PERMISSION_DENIED",
  request_id: `caller-${id}`,
});

describe("log lines that callers cause", () => {
  it("are a burst, then a pace, and the rest is counted in one line", () => {
    const { lines, clock, limited, summary } = made();
    for (let at = 0; at < 5000; at += 1) limited.info(refused("levelTooLow", at), "call failed");
    expect(lines).to.have.length(logLinesBurst);
    clock.ms += 3000;
    for (let at = 0; at < 5000; at += 1) limited.info(refused("levelTooLow", at), "call failed");
    const shown = logLinesBurst + 3 * logLinesPerSecond;
    expect(lines).to.have.length(shown);
    summary();
    expect(lines.slice(shown)).to.deep.equal([
      {
        level: "info",
        fields: { kind: "levelTooLow", code: "PERMISSION_DENIED", lines: 10_000 - shown },
        message: "more of: call failed",
      },
    ]);
    summary();
    expect(lines).to.have.length(shown + 1);
  });

  it("of one reason leave the others theirs", () => {
    const { lines, limited } = made();
    for (let at = 0; at < 1000; at += 1) limited.info(refused("levelTooLow", at), "call failed");
    limited.info(refused("unauthenticated", 0), "call failed");
    limited.error({ code: "DATA_LOSS" }, "damage");
    expect(lines.slice(logLinesBurst).map(({ message }) => message)).to.deep.equal(["call failed", "damage"]);
  });

  it("cannot be made without bound by making reasons", () => {
    const { lines, limited, summary } = made();
    for (let at = 0; at < 10_000; at += 1) limited.info({ kind: `kind-${at}` }, "call failed");
    expect(lines.length).to.be.at.most(logReasonsMax + logLinesBurst);
    summary();
    expect(lines.at(-1)?.message).to.equal("more of: other lines");
  });

  it("at debug level are what was asked for", () => {
    const { lines, limited } = made();
    for (let at = 0; at < 100; at += 1) limited.debug({}, "call");
    expect(lines).to.have.length(100);
  });
});
