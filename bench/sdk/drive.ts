/** The TypeScript client and its bare stub, driven by `bench/sdk.ts`. */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { credentials, Metadata } from "@grpc/grpc-js";
import {
  CheckRequest,
  connect,
  createTokenSigner,
  TrustServiceClient,
  type CheckResponse,
} from "@sigil/client";
import { question } from "../scratch.ts";
import type { Asked, DriverInput, Load, Took } from "./driver.ts";

const deadlineMs = 30_000;

const { target, provingTarget, genesis, origin, principal, keyFile, token, inFlight } = JSON.parse(
  process.argv[2] ?? "",
) as DriverInput;
const privateKey = readFileSync(keyFile, "utf8");
const signer = createTokenSigner({ principal, origin, privateKey });

const stub = new TrustServiceClient(target, credentials.createInsecure());
const metadata = new Metadata();
metadata.set("authorization", `Bearer ${token}`);
const request = CheckRequest.fromPartial(question);

const client = connect({ target, tls: "insecure", signer, deadlineMs });
const verifyDecisions = { genesis };
const proving = connect({ target: provingTarget, tls: "insecure", signer, deadlineMs, verifyDecisions });

const checkOf: Readonly<Record<Load, () => Promise<CheckResponse>>> = {
  stub: () =>
    new Promise((resolve, reject) => {
      stub.check(request, metadata, { deadline: Date.now() + deadlineMs }, (error, reply) =>
        error === null ? resolve(reply) : reject(error),
      );
    }),
  client: () => client.trust.check(question),
  verified: () => proving.trust.check(question),
};

const drive = async ({ load, checks }: Asked): Promise<Took> => {
  const check = checkOf[load];
  let left = checks;
  const before = process.cpuUsage();
  const worker = async (): Promise<void> => {
    for (; left > 0;) {
      left -= 1;
      await check();
    }
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  const { user, system } = process.cpuUsage(before);
  return { cpuUs: user + system };
};

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await drive(JSON.parse(line) as Asked))}\n`);
}
stub.close();
client.close();
proving.close();
