/** Questions of server reflection, which a library answers: in turns of their peer, as every call is. */
import { mock } from "node:test";
import { expect } from "chai";
import { describe, it } from "mocha";
import { call, frame, open } from "../../campaigns/starve/wire.ts";
import { startFakeServer } from "./fake-server.ts";

const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/** ServerReflectionRequest { list_services: "" }. */
const listServices = frame(Buffer.from([0x3a, 0x00]));

describe("reflection", () => {
  it("answers each question in a turn of its peer, in order, and gives every turn back", async () => {
    await using server = await startFakeServer({});
    const { pacing } = server.bounds;
    const turns: (() => void)[] = [];
    const entered = mock.method(pacing, "enter", () => new Promise<void>((resolve) => turns.push(resolve)));
    const left = mock.method(pacing, "leave", () => {});
    const session = await open(server.target);
    const stream = call(session, path);
    let text = "";
    stream.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
    const answers = (): number => text.split("grpc.health.v1.Health").length - 1;
    const closed = new Promise((resolve) => stream.once("close", resolve));
    for (let asked = 0; asked < 3; asked += 1) stream.write(listServices);
    stream.end();
    for (let answered = 0; answered < 3; answered += 1) {
      while (turns.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      expect(entered.mock.callCount()).to.equal(answered + 1);
      expect(answers()).to.be.at.most(answered);
      turns.shift()?.();
    }
    await closed;
    expect(answers()).to.equal(3);
    expect(left.mock.callCount()).to.equal(3);
    session.destroy();
  });
});
