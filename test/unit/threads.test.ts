/** What a thread has not answered was not done. */
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { idlest, Thread } from "../../src/threads.ts";

const program = new URL("thread-program.ts", import.meta.url);

describe("threads", () => {
  let threads: readonly Thread<number, number>[] = [];
  beforeEach(() => {
    const heapMib = { old: 64, young: 8 };
    threads = [1, 2].map((number) => new Thread({ name: `doubling-${number}`, program, env: {}, heapMib }));
  });
  afterEach(() => Promise.all(threads.map((thread) => thread.end())));

  const askAny = (number: number): Promise<number> =>
    idlest(threads)?.ask(number) ?? Promise.reject(new Error("there is no thread"));

  const failureOf = (work: Promise<unknown> | undefined): Promise<unknown> =>
    (work ?? Promise.resolve()).then(
      () => "none",
      (error: unknown) => (error instanceof Error ? error.message : error),
    );

  it("answer each request, in whatever order they are asked", async () => {
    const asked = [1, 2, 3, 4, 5, 6, 7];
    const answers = await Promise.all(asked.map(askAny));
    expect(answers).to.deep.equal(asked.map((number) => 2 * number));
    expect(threads.map(({ waiting }) => waiting)).to.deep.equal([0, 0]);
  });

  it("spread requests over themselves", () => {
    const answers = Array.from({ length: 6 }, () => askAny(1));
    expect(threads.map(({ waiting }) => waiting)).to.deep.equal([3, 3]);
    return Promise.all(answers);
  });

  it("reject what their program fails on, and go on", async () => {
    const [thread] = threads;
    expect(await failureOf(thread?.ask(-1))).to.equal("doubling-1: a number is not negative");
    expect(await thread?.ask(4)).to.equal(8);
  });

  it("reject what waits when one ends, and all that comes later", async () => {
    const [thread, other] = threads;
    const waiting = [thread?.ask(0), thread?.ask(1)].map(failureOf);
    for (const failure of await Promise.all(waiting)) expect(failure).to.match(/doubling-1 ended/);
    expect(await failureOf(thread?.ask(1))).to.match(/doubling-1 ended/);
    expect(idlest(threads)).to.equal(other);
    await other?.end();
    expect(idlest(threads)).to.equal(undefined);
  });
});
