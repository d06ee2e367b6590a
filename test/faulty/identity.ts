/** Faults of the caller's proof, at an honest server: what it refuses, and what it answers to nobody. */
import { control, fault, honestDeadlineMs, type Row } from "./row.ts";
import { mintToken, strangersKey, type World } from "./world.ts";
import { startProxy } from "./proxy.ts";

export const identityFaults = async (world: World): Promise<readonly Row[]> => {
  const { honest, deployment, keep } = world;
  const { target } = honest.server;
  const key = deployment.privateKeys.operator;
  const now = Math.floor(Date.now() / 1000);
  const withToken = async (name: string, what: string, token: string): Promise<Row> =>
    fault({
      name,
      what,
      target,
      deadlineMs: honestDeadlineMs,
      tokenFile: await keep(`${name}.jwt`, token),
    });
  return [
    control({ name: "control-check", what: "an honest server", target }),
    control({ name: "control-batch", what: "an honest server", target, call: "batch" }),
    control({ name: "control-stream", what: "an honest server", target, call: "stream" }),
    await withToken(
      "token-expired",
      "a token that expired an hour ago",
      mintToken(key, { claims: { iat: now - 4200, exp: now - 3600 } }),
    ),
    await withToken(
      "token-early",
      "a token of tomorrow",
      mintToken(key, { claims: { iat: now + 86_400, exp: now + 86_700 } }),
    ),
    await withToken(
      "token-audience",
      "a token for another deployment",
      mintToken(key, { claims: { aud: "other.test" } }),
    ),
    await withToken(
      "token-long",
      "a token that is valid for a day",
      mintToken(key, { claims: { exp: now + 86_400 } }),
    ),
    await withToken("token-stranger", "a token by a key that is not enrolled", mintToken(strangersKey(), {})),
    await withToken(
      "token-other-key",
      "a token that names the principal's key, signed by another",
      otherSignature(key),
    ),
    await withToken(
      "token-unsigned",
      "a token of the algorithm none",
      mintToken(key, { header: { alg: "none" } }),
    ),
    await withToken(
      "token-unknown",
      "a token of a principal that is not enrolled",
      mintToken(key, { claims: { iss: "nobody", sub: "nobody" } }),
    ),
    await withToken("token-garbage", "a token that is none", "eyJ.sigil.faulty"),
    fault({
      name: "origin-other",
      what: "a client set up for another deployment",
      target,
      origin: "other.test",
      deadlineMs: honestDeadlineMs,
    }),
    fault({
      name: "token-dropped",
      what: "a proxy that drops the token: the server answers nobody",
      target: await startProxy(world, { dropToken: true }),
      expect: "deny",
      deadlineMs: honestDeadlineMs,
    }),
  ];
};

/** The head and claims of a good token, with a signature by a stranger's key. */
const otherSignature = (key: Parameters<typeof mintToken>[0]): string => {
  const good = mintToken(key, {}).split(".");
  const bad = mintToken(strangersKey(), {}).split(".");
  return [good[0], good[1], bad[2]].join(".");
};
