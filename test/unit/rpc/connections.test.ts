/** Connections: the silent make place, the nameless are bounded by where they come from, the proved stay. */
import { EventEmitter } from "node:events";
import type { Http2Session } from "node:http2";
import type { Server } from "node:net";
import { Metadata } from "@grpc/grpc-js";
import { expect } from "chai";
import { describe, it } from "mocha";
import { anonymous, type Caller } from "../../../src/identity/caller.ts";
import { Connections } from "../../../src/rpc/bounds/connections.ts";
import type { RpcEnvironment } from "../../../src/rpc/call/environment.ts";
import { identifyCaller } from "../../../src/rpc/call/identify.ts";

class MadeUpSocket extends EventEmitter {
  readonly remoteAddress: string | undefined;
  readonly remotePort: number;
  destroyed = false;
  constructor(address: string | undefined, port: number) {
    super();
    this.remoteAddress = address;
    this.remotePort = port;
  }
  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.emit("close");
  }
}

const made = (bounds: { readonly max: number; readonly perPeerMax: number }) => {
  const state = { nowMs: 0, port: 0 };
  const refused: string[] = [];
  const connections = new Connections({
    ...bounds,
    silentMs: 40,
    idleMs: 80,
    nowMs: () => state.nowMs,
    onRefused: (bound) => void refused.push(bound),
  });
  const listener = new EventEmitter();
  connections.watchHttp2(listener as Server);
  const open = (from: string = "10.0.0.1") => {
    const address = from === "unix" ? undefined : from;
    const socket = new MadeUpSocket(address, (state.port += 1));
    listener.emit("connection", socket);
    const session = { socket, close: () => socket.destroy() } as unknown as Http2Session;
    listener.emit("session", session);
    const call = () => {
      const stream = Object.assign(new EventEmitter(), { session });
      listener.emit("stream", stream);
      return { end: () => stream.emit("close") };
    };
    return { socket, session, call };
  };
  return { connections, open, refused, state };
};

const later = (delayMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, delayMs));

describe("connections", () => {
  it("that never called make place for the next, the oldest first", () => {
    const { connections, open, refused } = made({ max: 3, perPeerMax: 100 });
    const all = [open(), open(), open()];
    all[0]?.call();
    const next = open();
    expect(all.map(({ socket }) => socket.destroyed)).to.deep.equal([false, true, false]);
    expect([next.socket.destroyed, connections.count]).to.deep.equal([false, 3]);
    expect(refused).to.deep.equal(["CONNECTIONS"]);
  });

  it("that are idle make place after the silent, whoever is idle longest; those with a call under way never", () => {
    const { open, state } = made({ max: 3, perPeerMax: 100 });
    const [busy, first, second] = [open(), open(), open()];
    busy.call();
    second.call().end();
    state.nowMs += 5;
    first.call().end();
    expect(open().socket.destroyed).to.equal(false);
    expect([busy, first, second].map(({ socket }) => socket.destroyed)).to.deep.equal([false, false, true]);
  });

  it("of those who proved who they are keep their place, and the newcomer is refused", () => {
    const { connections, open } = made({ max: 2, perPeerMax: 1 });
    const proved = [open(), open("10.0.0.2")];
    for (const { session } of proved) connections.prove(session);
    expect(open("10.0.0.3").socket.destroyed).to.equal(true);
    expect(proved.map(({ socket }) => socket.destroyed)).to.deep.equal([false, false]);
  });

  it("of those who call as nobody in particular prove nothing by it", async () => {
    const proved: unknown[] = [];
    const session = {} as Http2Session;
    const call = { metadata: new Metadata(), getPeer: () => "10.0.0.2:1", call: { stream: { session } } };
    const callAs = (caller: Caller) =>
      identifyCaller(
        {
          identify: async () => caller,
          authorize: () => {},
          readsCertificates: false,
          connections: { prove: (each: unknown) => proved.push(each) },
        } as unknown as RpcEnvironment,
        "/s/M",
        call as unknown as Parameters<typeof identifyCaller>[2],
        () => true,
      );
    expect(await callAs(anonymous)).to.deep.equal({ ...anonymous, peer: "10.0.0.2" });
    expect(proved).to.deep.equal([]);
    await callAs({ ...anonymous, principal: "svc", credential: "token" });
    expect(proved).to.deep.equal([session]);
  });

  it("of one address without a name are so many, and end none of another", () => {
    const { open, refused } = made({ max: 100, perPeerMax: 2 });
    const other = open("10.0.0.2");
    const all = Array.from({ length: 5 }, () => open());
    expect(all.map(({ socket }) => socket.destroyed)).to.deep.equal([true, true, true, false, false]);
    expect(other.socket.destroyed).to.equal(false);
    expect(refused).to.deep.equal(["CONNECTIONS_PER_PEER", "CONNECTIONS_PER_PEER", "CONNECTIONS_PER_PEER"]);
    const local = Array.from({ length: 5 }, () => open("unix"));
    expect(
      local.some(({ socket }) => socket.destroyed),
      "a Unix socket",
    ).to.equal(false);
  });

  it("are ended when they do not call, and later when they have and do not go on", async () => {
    const { connections, open, state } = made({ max: 100, perPeerMax: 100 });
    const [silent, idle, busy, proved] = [open(), open(), open(), open()];
    idle.call().end();
    busy.call();
    connections.prove(proved.session);
    state.nowMs += 40;
    while (!silent.socket.destroyed) await later(1);
    expect(idle.socket.destroyed).to.equal(false);
    state.nowMs += 40;
    while (!idle.socket.destroyed) await later(1);
    expect([busy.socket.destroyed, proved.socket.destroyed]).to.deep.equal([false, false]);
    connections.close();
  });
});
