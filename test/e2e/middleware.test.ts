/**
 * Real frameworks over real sockets, guarded by a real Sigil: what is allowed runs, whatever else happens does not, and
 * nothing secret goes out.
 */
import { once } from "node:events";
import { createServer, request as httpRequest, type Server } from "node:http";
import { createServer as createTcpServer, type AddressInfo, type Socket } from "node:net";
import { inspect } from "node:util";
import { serve as serveHono } from "@hono/node-server";
import { expect } from "chai";
import express from "express";
import fastify from "fastify";
import { Hono, type Context } from "hono";
import { after, before, describe, it } from "mocha";
import { DeniedError, type Guarding, type SigilConnection } from "@sigil/client";
import * as forExpress from "@sigil/client/express";
import * as forFastify from "@sigil/client/fastify";
import * as forHono from "@sigil/client/hono";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";

type Denials = (error: DeniedError) => void;

/** Asks whether the user of the header `x-user` may write the note that the path names. */
type App = AsyncDisposable & { readonly port: number; readonly ran: string[] };

const closing = async (server: Server): Promise<void> => {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
};

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

const done = (id: string, auditId: string | undefined): string => JSON.stringify({ id, audit_id: auditId });

const apps: Readonly<Record<string, (sigil: Guarding, onDenied: Denials) => Promise<App>>> = {
  Express: async (sigil, onDenied) => {
    const ran: string[] = [];
    const app = express();
    app.post(
      "/notes/:id",
      forExpress.guard(sigil, {
        action: "write",
        target: (request: express.Request<{ id: string }>) => `user/notes/${request.params.id}`,
        subject: (request) => request.get("x-user") ?? "",
        onDenied,
      }),
      (request, response) => {
        ran.push(request.params.id);
        response.type("json").send(done(request.params.id, forExpress.decisionOf(request)?.auditId));
      },
    );
    const server = app.listen(0, "127.0.0.1");
    await once(server, "listening");
    return { port: portOf(server), ran, [Symbol.asyncDispose]: () => closing(server) };
  },
  Fastify: async (sigil, onDenied) => {
    const ran: string[] = [];
    const app = fastify();
    app.post<{ Params: { id: string } }>(
      "/notes/:id",
      {
        preHandler: forFastify.guard(sigil, {
          action: "write",
          target: (request: fastify.FastifyRequest<{ Params: { id: string } }>) =>
            `user/notes/${request.params.id}`,
          subject: async (request) => String(request.headers["x-user"] ?? ""),
          onDenied,
        }),
      },
      async (request, reply) => {
        ran.push(request.params.id);
        await reply
          .type("application/json")
          .send(done(request.params.id, forFastify.decisionOf(request)?.auditId));
      },
    );
    await app.listen({ host: "127.0.0.1", port: 0 });
    const { server } = app;
    return { port: portOf(server), ran, [Symbol.asyncDispose]: () => closing(server) };
  },
  Hono: async (sigil, onDenied) => {
    const ran: string[] = [];
    const app = new Hono();
    app.post(
      "/notes/:id",
      forHono.guard(sigil, {
        action: "write",
        target: (c: Context) => `user/notes/${c.req.param("id") ?? ""}`,
        subject: (c) => c.req.header("x-user") ?? "",
        onDenied,
      }),
      (c) => {
        ran.push(c.req.param("id") ?? "");
        return c.body(done(c.req.param("id") ?? "", forHono.decisionOf(c)?.auditId), 200, {
          "content-type": "application/json",
        });
      },
    );
    const server = serveHono({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }) as Server;
    if (!server.listening) await once(server, "listening");
    return { port: portOf(server), ran, [Symbol.asyncDispose]: () => closing(server) };
  },
  "plain node:http": async (sigil, onDenied) => {
    const ran: string[] = [];
    const guard = forExpress.guard<import("node:http").IncomingMessage>(sigil, {
      action: "write",
      target: ({ url = "" }) => `user${url}`,
      subject: ({ headers }) => String(headers["x-user"] ?? ""),
      onDenied,
    });
    const server = createServer((request, response) => {
      guard(request, response, () => {
        const id = request.url?.split("/").at(-1) ?? "";
        ran.push(id);
        response.end(done(id, forExpress.decisionOf(request)?.auditId));
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return { port: portOf(server), ran, [Symbol.asyncDispose]: () => closing(server) };
  },
};

type Answered = { readonly status: number; readonly body: unknown; readonly text: string };

const post = async ({ port }: App, path: string, user?: string): Promise<Answered> => {
  const asking = httpRequest({ host: "127.0.0.1", port, path, method: "POST", agent: false });
  if (user !== undefined) asking.setHeader("x-user", user);
  asking.end();
  const [response] = (await once(asking, "response")) as [import("node:http").IncomingMessage];
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += String(chunk);
  return {
    status: response.statusCode ?? 0,
    body: JSON.parse(text) as unknown,
    text: `${inspect(response.rawHeaders)}${text}`,
  };
};

const secret = "eyJ-this-is-a-secret";

describe("a guarded HTTP service", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  before(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve();
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  for (const [name, start] of Object.entries(apps)) {
    describe(`of ${name}`, () => {
      const denials: DeniedError[] = [];
      const guarded = (sigil: Guarding): Promise<App> => {
        denials.length = 0;
        return start(sigil, (error) => void denials.push(error));
      };
      const refused = async (
        sigil: SigilConnection | Guarding,
        status: 403 | 503,
        user?: string,
        path = "/notes/7",
      ) => {
        await using app = await guarded(sigil);
        const answered = await post(app, path, user);
        expect(answered.status, answered.text).to.equal(status);
        expect(app.ran).to.deep.equal([]);
        expect(denials).to.have.length(1);
        expect(denials[0]).to.be.instanceOf(DeniedError);
        expect(answered.text).not.to.include(secret);
        return answered.body;
      };

      it("runs what is allowed, and its handler has the decision", async () => {
        await using app = await guarded(served.as("operator"));
        const { status, body } = await post(app, "/notes/7", "mentor");
        expect(status).to.equal(200);
        expect(app.ran).to.deep.equal(["7"]);
        const { audit_id: auditId } = body as { readonly audit_id: string };
        const { chain } = await served.as("observer").audit.getFrozenChain({ auditId });
        expect(chain).to.include({ subject: "mentor", action: "write", target: "user/notes/7" });
        expect(denials).to.deep.equal([]);
      });

      it("answers 403 with the decision's id and nothing else on a deny", async () => {
        const body = await refused(served.as("operator"), 403, "a-stranger");
        const auditId = denials[0]?.decision?.auditId;
        expect(auditId).to.be.a("string").and.not.equal("");
        expect(body).to.deep.equal({ error: "denied", audit_id: auditId });
      });

      it("asks nothing when it does not know about whom, and answers 403", async () => {
        expect(await refused(served.as("operator"), 403)).to.deep.equal({ error: "denied" });
        expect(denials[0]).to.include({ reason: "QUESTION_INCOMPLETE" });
      });

      it("answers 403 for a target that has no spelling", async () => {
        expect(await refused(served.as("operator"), 403, "mentor", "/notes/a%07b")).to.deep.equal({
          error: "denied",
        });
      });

      it("answers 503 when Sigil is away, slow or refuses this service", async () => {
        const away = served.as("operator", { target: "127.0.0.1:1" });
        const sockets: Socket[] = [];
        const tcp = createTcpServer((socket) => void sockets.push(socket)).listen(0, "127.0.0.1");
        await once(tcp, "listening");
        const silent = `127.0.0.1:${(tcp.address() as AddressInfo).port}`;
        const slow = served.as("operator", { target: silent, deadlineMs: 100 });
        const impostor = served.as("guest", { signer: { token: () => secret } });
        const broken = served.as("guest", { signer: { token: () => Promise.reject(new Error(secret)) } });
        const unfit = served.as("guest", { signer: { token: () => `${secret}\n` } });
        // An Observer may not ask about others.
        const low = served.as("observer");
        for (const sigil of [away, slow, impostor, broken, unfit, low])
          expect(await refused(sigil, 503, "mentor")).to.deep.equal({ error: "unavailable" });
        for (const each of [away, slow]) each.close();
        tcp.close();
        for (const socket of sockets) socket.destroy();
      });

      it("answers 503 whatever a connection resolves with that is no allow", async () => {
        for (const wrong of [undefined, null, true, "allowed", {}, { allowed: "yes" }, { allowed: false }])
          await refused({ require: async () => wrong as never }, 503, "mentor");
      });

      it("denies whatever its logger does", async () => {
        await using app = await start(served.as("operator"), () => {
          throw new Error(secret);
        });
        const { status, text } = await post(app, "/notes/7", "a-stranger");
        expect([status, app.ran.length, text.includes(secret)]).to.deep.equal([403, 0, false]);
      });

      it("stops asking when its caller leaves", async () => {
        let signal: AbortSignal | undefined;
        let asked = (): void => {};
        const isAsked = new Promise<void>((resolve) => (asked = resolve));
        const waiting: Guarding = {
          require: (_question, options) =>
            new Promise((_resolve, reject) => {
              signal = options?.signal;
              signal?.addEventListener("abort", () => reject(new Error("left")));
              asked();
            }),
        };
        await using app = await guarded(waiting);
        const asking = httpRequest({ host: "127.0.0.1", port: app.port, path: "/notes/7", method: "POST" });
        asking.setHeader("x-user", "mentor");
        asking.on("error", () => {});
        asking.end();
        await isAsked;
        const aborted = once(signal ?? new AbortController().signal, "abort");
        asking.destroy();
        await aborted;
        expect(app.ran).to.deep.equal([]);
      });
    });
  }

  it("never goes on when the guard itself fails, with an error in hand or without", async () => {
    let gone = 0;
    let destroyed = (): void => {};
    const isDestroyed = new Promise<void>((resolve) => (destroyed = resolve));
    const response = {
      once: () => {
        throw new Error("no such event");
      },
      destroy: () => destroyed(),
    };
    const guard = forExpress.guard(served.as("operator"), { action: "write", target: "user/notes" });
    guard({}, response as never, () => void (gone += 1));
    await isDestroyed;
    expect(gone).to.equal(0);
  });

  it("does not start without an action or a target", () => {
    const sigil = served.as("operator");
    const whole = { action: "write", target: "user/notes" };
    const wrong: readonly object[] = [
      {},
      { action: "write" },
      { target: "a" },
      { ...whole, target: "" },
      { ...whole, action: undefined },
    ];
    type Start = (sigil: never, options: never) => unknown;
    for (const guard of [forExpress.guard, forFastify.guard, forHono.guard] as readonly Start[]) {
      for (const options of wrong)
        expect(() => guard(sigil as never, options as never)).to.throw(TypeError, "a guard needs");
      expect(() => guard(undefined as never, whole as never)).to.throw(
        TypeError,
        "a guard needs a connection",
      );
    }
  });
});
