/** Whose call begins next, and when. Time is the test's own: nothing here depends on how busy the machine is. */
import { expect } from "chai";
import { describe, it } from "mocha";
import {
  callsPerTurn,
  callsUnderWayBesideOthersMax,
  callsUnderWayOfConnectionMax,
  callsUnderWayPerCallerMax,
  collectionMsPerByte,
  pacingActiveMs,
  pacingDebtMsMax,
  pacingSliceMs,
  pacingTurnAloneMs,
  pacingTurnMs,
} from "../../../src/limits.ts";
import { TrustServiceService } from "../../../generated/src/sigil/trust/v1/trust.ts";
import { readRequest, strictService } from "../../../src/rpc/call/decode.ts";
import { CallPace, Pacing, type Flow } from "../../../src/rpc/call/pacing.ts";

const turnOfLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const turnsOfLoop = async (turns: number): Promise<void> => {
  for (let turn = 0; turn < turns; turn += 1) await turnOfLoop();
};

class Calls {
  nowMs = 1000;
  readonly pacing = new Pacing(() => this.nowMs);
  readonly begun: string[] = [];
  readonly #connections = new Map<string, object>();

  flow(caller: string, connection = caller): Flow {
    const known = this.#connections.get(connection) ?? {};
    this.#connections.set(connection, known);
    return this.pacing.flowOf(caller, known);
  }

  /** A call that ends at once and costs so much. */
  ask(name: string, flow: Flow, costMs = 0): void {
    const begin = (): void => {
      this.begun.push(name);
      flow.run(() => void (this.nowMs += costMs));
      flow.leave();
    };
    const turn = flow.enter();
    if (turn === undefined) begin();
    else void turn.then(begin);
  }
}

const numbers = (count: number): readonly string[] => Array.from({ length: count }, (_, index) => `${index}`);

describe("pacing", () => {
  it("begins so many calls at once, and the others in their order, so many a turn", async () => {
    const calls = new Calls();
    const wanted = numbers(3 * callsPerTurn - 1);
    for (const name of wanted) calls.ask(name, calls.flow("ann"));
    for (const turn of [1, 2, 3]) {
      expect(calls.begun).to.deep.equal(wanted.slice(0, turn * callsPerTurn));
      await turnOfLoop();
    }
  });

  it("begins no more in a turn that has taken long, so that what comes meanwhile is seen", async () => {
    for (const [callers, turnMs] of [
      [1, pacingTurnAloneMs],
      [4, pacingTurnMs],
    ] as const) {
      const calls = new Calls();
      for (const name of numbers(callsPerTurn)) calls.ask(name, calls.flow("0"));
      for (const name of numbers(4)) calls.ask(name, calls.flow(`${Number(name) % callers}`), turnMs);
      calls.begun.length = 0;
      await turnOfLoop();
      expect(calls.begun.length, `${callers}`).to.be.within(1, 2);
      await turnsOfLoop(4);
      expect(calls.begun, `${callers}`).to.have.lengthOf(4);
    }
  });

  it("lets nobody wait who is alone, whatever its work took", async () => {
    const calls = new Calls();
    const ann = calls.flow("ann");
    calls.ask("long", ann, 10_000);
    calls.ask("next", ann);
    expect(calls.begun).to.deep.equal(["long", "next"]);
  });

  it("begins those first who owe nothing, and then whoever owes least", async () => {
    const calls = new Calls();
    for (const name of numbers(callsPerTurn)) calls.ask(name, calls.flow("first"));
    calls.flow("ann").charge(0.4);
    calls.flow("ben").charge(0.2);
    calls.begun.length = 0;
    for (const name of ["ann", "ben", "kim"]) calls.ask(name, calls.flow(name));
    await turnsOfLoop(2);
    expect(calls.begun).to.deep.equal(["kim", "ben", "ann"]);
  });

  it("lets whoever burned processor time wait as long while others are active, and no longer", async () => {
    const calls = new Calls();
    const [ann, ben] = [calls.flow("ann"), calls.flow("ben")];
    calls.ask("ann's long", ann, 40);
    calls.ask("ben", ben);
    calls.ask("ann's next", ann);
    await turnsOfLoop(3);
    expect(calls.begun).to.deep.equal(["ann's long", "ben"]);
    for (const name of ["ben again", "and again"]) {
      calls.nowMs += 15;
      calls.ask(name, ben);
    }
    await turnsOfLoop(3);
    expect(calls.begun).to.deep.equal(["ann's long", "ben", "ben again", "and again"]);
    calls.nowMs += 11;
    calls.ask("ben still", ben);
    await turnsOfLoop(3);
    expect(calls.begun.slice(4)).to.have.members(["ann's next", "ben still"]);
  });

  it("takes a caller to be active while its call is under way, however long its disk takes", async () => {
    const calls = new Calls();
    const [ann, ben] = [calls.flow("ann"), calls.flow("ben")];
    expect(ben.enter()).to.equal(undefined);
    calls.nowMs += 10 * pacingActiveMs;
    calls.ask("ann's long", ann, 4 * pacingActiveMs);
    calls.ask("ann's next", ann);
    await turnsOfLoop(3);
    calls.nowMs += 2 * pacingActiveMs;
    await turnsOfLoop(3);
    expect(calls.begun).to.deep.equal(["ann's long"]);
    ben.leave();
    calls.nowMs += pacingActiveMs + 1;
    await turnsOfLoop(3);
    expect(calls.begun).to.deep.equal(["ann's long", "ann's next"]);
  });

  it("charges a request for the collection of its bytes, beside the time that it took", async () => {
    const calls = new Calls();
    const bytes = Buffer.alloc(4 << 20);
    calls.ask("ben", calls.flow("ben"));
    const ann = calls.flow("ann");
    readRequest(strictService(TrustServiceService)["check"]?.requestDeserialize(bytes), ann);
    calls.ask("ann", ann);
    await turnsOfLoop(3);
    expect(calls.begun).to.deep.equal(["ben"]);
    expect(ann.paidMs - calls.nowMs).to.be.closeTo(bytes.length * collectionMsPerByte, 1);
  });

  it("lets whoever owes begin when the others have gone", async () => {
    const calls = new Calls();
    const ann = calls.flow("ann");
    calls.ask("ben", calls.flow("ben"));
    calls.ask("long", ann, 200);
    calls.nowMs += pacingActiveMs + 1;
    calls.ask("next", ann);
    expect(calls.begun).to.deep.equal(["ben", "long", "next"]);
  });

  it("forgives what is more than the most that is owed", async () => {
    const calls = new Calls();
    const [ann, ben] = [calls.flow("ann"), calls.flow("ben")];
    calls.ask("long", ann, 1e6);
    calls.nowMs += pacingDebtMsMax;
    calls.ask("ben", ben);
    calls.ask("next", ann);
    await turnOfLoop();
    expect(calls.begun).to.deep.equal(["long", "ben", "next"]);
  });

  it("gives a caller no more for having many connections", async () => {
    const calls = new Calls();
    calls.ask("ben", calls.flow("ben"));
    calls.ask("ann's first", calls.flow("ann", "one"), 20);
    calls.ask("ann's second", calls.flow("ann", "another"));
    calls.ask("ben again", calls.flow("ben"));
    await turnsOfLoop(3);
    expect(calls.begun).to.deep.equal(["ben", "ann's first", "ben again"]);
  });

  it("lets one connection of a caller not hold up another that does little", async () => {
    const calls = new Calls();
    const [busy, quiet] = [calls.flow("ann", "busy"), calls.flow("ann", "quiet")];
    calls.flow("ann").caller.paidMs = 0;
    calls.ask("quiet", quiet);
    calls.ask("long", busy, 1);
    calls.ask("next", busy);
    calls.ask("quiet again", quiet);
    await turnsOfLoop(2);
    expect(calls.begun[2]).to.equal("quiet again");
  });

  it("has so many calls of one caller under way, and those of others beside them", async () => {
    const calls = new Calls();
    const ann = calls.flow("ann");
    let begun = 0;
    for (let call = 0; call < callsUnderWayPerCallerMax + 5; call += 1) {
      const turn = ann.enter();
      if (turn === undefined) begun += 1;
      else void turn.then(() => (begun += 1));
    }
    await turnsOfLoop(callsUnderWayPerCallerMax / callsPerTurn + 2);
    expect(begun).to.equal(callsUnderWayPerCallerMax);
    calls.ask("ben", calls.flow("ben"));
    await turnOfLoop();
    expect(calls.begun).to.deep.equal(["ben"]);
    calls.nowMs += pacingActiveMs + 1;
    ann.leave();
    await turnOfLoop();
    expect(begun).to.equal(callsUnderWayPerCallerMax + 1);
  });

  it("has few of a caller under way while others are active, unless it has nothing else", async () => {
    const calls = new Calls();
    const ann = calls.flow("ann");
    calls.ask("ben", calls.flow("ben"));
    let begun = 0;
    for (let call = 0; call < 2 * callsUnderWayBesideOthersMax; call += 1) {
      const turn = ann.enter();
      if (turn === undefined) begun += 1;
      else void turn.then(() => (begun += 1));
    }
    for (let turn = 0; turn < 40; turn += 1) {
      calls.nowMs += pacingActiveMs / 2;
      calls.ask("ben again", calls.flow("ben"));
      await turnOfLoop();
    }
    expect(begun).to.equal(callsUnderWayBesideOthersMax);
    const kim = calls.flow("kim").enter(1000);
    await turnOfLoop();
    await kim;
    expect(calls.flow("kim").underWay).to.equal(1000);
  });

  it("keeps a few places for each connection, whatever its caller has under way on others", async () => {
    const calls = new Calls();
    for (const connection of ["one", "another"]) await calls.flow("peer", connection).enter(1000);
    for (const name of numbers(callsUnderWayOfConnectionMax + 1)) {
      const turn = calls.flow("peer", "third").enter();
      const begin = (): number => calls.begun.push(name);
      if (turn === undefined) begin();
      else void turn.then(begin);
    }
    await turnsOfLoop(3);
    expect(calls.begun).to.deep.equal(numbers(callsUnderWayOfConnectionMax));
  });

  it("keeps one place for each connection of an address that has many, so that all of them together have little under way", async () => {
    const calls = new Calls();
    const connections = 2 * callsUnderWayBesideOthersMax;
    calls.ask("ben", calls.flow("ben"));
    for (let round = 0; round < 4; round += 1) {
      for (const name of numbers(connections)) {
        void calls
          .flow("peer", name)
          .enter()
          ?.then(() => calls.begun.push(name));
      }
    }
    for (let turn = 0; turn < 2 * connections; turn += 1) {
      calls.nowMs += pacingActiveMs / 2;
      calls.ask("ben again", calls.flow("ben"));
      await turnOfLoop();
    }
    const { underWay } = calls.flow("peer", "0").caller;
    expect(underWay).to.be.within(connections, connections + callsUnderWayBesideOthersMax);
    calls.nowMs += pacingActiveMs + pacingDebtMsMax;
    await calls.flow("peer", "late").enter();
    expect(calls.flow("peer", "late").underWay).to.equal(1);
  });

  it("takes nobody to be active for longer because of what is charged beyond the time that passed", async () => {
    const calls = new Calls();
    const ann = calls.flow("ann");
    calls.ask("ben", calls.flow("ben"));
    for (let call = 0; call < 10; call += 1) {
      ann.charge(100);
      ann.worked(100);
    }
    calls.nowMs += pacingActiveMs + 1;
    calls.ask("ann", ann);
    expect(calls.begun).to.deep.equal(["ben", "ann"]);
  });

  it("weighs a batch by its items, and batches of one caller do not wait for each other for ever", async () => {
    const calls = new Calls();
    const ann = calls.flow("ann");
    let [underWay, most, ended] = [0, 0, 0];
    const batch = async (): Promise<void> => {
      await ann.enter();
      const pace = new CallPace(ann, calls.pacing.nowMs, () => true);
      await pace.weigh(1000);
      underWay += 1;
      most = Math.max(most, underWay);
      await turnsOfLoop(2);
      underWay -= 1;
      ended += 1;
      ann.leave(pace.weight);
    };
    await Promise.all(Array.from({ length: 40 }, batch));
    expect([most, ended]).to.deep.equal([2, 40]);
    expect(ann.caller.underWay).to.equal(0);
  });

  it("lets others begin between slices of long work, which goes on before what waits of its own", async () => {
    const calls = new Calls();
    const ann = calls.flow("ann");
    await ann.enter();
    const pace = new CallPace(ann, calls.pacing.nowMs, () => true);
    const long = pace.map(numbers(4), (item) => {
      calls.begun.push(`slice ${item}`);
      calls.nowMs += pacingSliceMs;
      return Number(item) * 2;
    });
    calls.ask("ann's next", ann);
    calls.ask("ben", calls.flow("ben"));
    while (calls.begun.length < 6) {
      calls.nowMs += 0.1;
      await turnOfLoop();
    }
    expect(await long).to.deep.equal([0, 2, 4, 6]);
    expect(calls.begun.indexOf("ben")).to.be.lessThan(calls.begun.indexOf("slice 2"));
    expect(calls.begun.at(-1)).to.equal("ann's next");
  });

  it("gives one that nobody wants any more its turn for nothing, however much is owed", async () => {
    const calls = new Calls();
    const ann = calls.flow("ann");
    calls.ask("ben", calls.flow("ben"));
    calls.ask("long", ann, 200);
    let isWanted = true;
    let hadTurn = false;
    void ann.enter(1, () => isWanted)?.then(() => (hadTurn = true));
    calls.ask("ben again", calls.flow("ben"));
    await turnsOfLoop(2);
    expect(hadTurn).to.equal(false);
    isWanted = false;
    calls.ask("and again", calls.flow("ben"));
    await turnsOfLoop(2);
    expect(hadTurn).to.equal(true);
  });
});
