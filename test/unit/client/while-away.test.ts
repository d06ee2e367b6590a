/** A call that waits for a server: again while the server is away, for so long, and never what is refused. */
import { status as Code } from "@grpc/grpc-js";
import { expect } from "chai";
import { describe, it } from "mocha";
import { isAway, SigilError, whileAway } from "@sigil/client";

const failed = (code: number): SigilError => new SigilError(code, "failed");

/** A call that fails with each of these codes, and then answers. */
const failing = (codes: readonly number[]) => {
  const state = { calls: 0 };
  const call = async (): Promise<string> => {
    const code = codes[state.calls];
    state.calls += 1;
    if (code !== undefined) throw failed(code);
    return "answered";
  };
  return { state, call };
};

const errorOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

describe("a call that waits for a server", () => {
  it("is made again while the server is away, and says so each time", async () => {
    const { state, call } = failing([Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED]);
    const told: string[] = [];
    const onAway = ({ codeName }: SigilError): void => void told.push(codeName);
    expect(await whileAway(call, { awayMsMax: 60_000, onAway })).to.equal("answered");
    expect(state.calls).to.equal(3);
    expect(told).to.deep.equal(["UNAVAILABLE", "DEADLINE_EXCEEDED"]);
  });

  it("is made once where it is refused, where there is no patience, and after the signal", async () => {
    for (const code of Object.values(Code)) {
      if (typeof code !== "number" || isAway(failed(code))) continue;
      const { state, call } = failing([code]);
      expect(await errorOf(whileAway(call, { awayMsMax: 60_000 }))).to.include({ code });
      expect(state.calls).to.equal(1);
    }
    const patient = [{ awayMsMax: 0 }, { awayMsMax: 60_000, signal: AbortSignal.abort() }];
    for (const patience of patient) {
      const { state, call } = failing([Code.UNAVAILABLE]);
      expect(await errorOf(whileAway(call, patience))).to.include({ code: Code.UNAVAILABLE });
      expect(state.calls).to.equal(1);
    }
  });

  it("ends while it waits, by the signal", async () => {
    const stop = new AbortController();
    const { state, call } = failing([Code.UNAVAILABLE]);
    const patience = { awayMsMax: 60_000, signal: stop.signal, onAway: () => stop.abort() };
    expect(await errorOf(whileAway(call, patience))).to.include({ code: Code.UNAVAILABLE });
    expect(state.calls).to.equal(1);
  });

  it("hands on what is no error of a call", async () => {
    const bug = new TypeError("a bug");
    expect(await errorOf(whileAway(() => Promise.reject(bug), { awayMsMax: 60_000 }))).to.equal(bug);
  });
});
