/**
 * `node test/faulty/main.ts`: starts every faulty server on a free port of this machine, prints the table of them as
 * one line of JSON, and ends when its input is closed. Source: test/faulty/README.md.
 */
import { origin } from "../e2e/deployment.ts";
import { environmentFaults } from "./environment.ts";
import { http2Faults } from "./http2.ts";
import { identityFaults } from "./identity.ts";
import { proofFaults } from "./proofs.ts";
import { replyFaults } from "./replies.ts";
import { questions, type Table } from "./row.ts";
import { socketFaults } from "./sockets.ts";
import { tlsFaults } from "./tls.ts";
import { makeWorld, principal } from "./world.ts";

await using world = await makeWorld();
const { recordedFile, rows: proxied } = await environmentFaults(world);
const groups = await Promise.all(
  [identityFaults, replyFaults, proofFaults, http2Faults, socketFaults, tlsFaults].map((each) => each(world)),
);
const { keyFile, genesis } = world;
const rows = [...groups.flat(), ...proxied];
const table: Table = {
  format: "test/faulty/README.md",
  origin,
  principal,
  keyFile,
  genesis,
  questions,
  recordedFile,
  rows,
};
process.stdout.write(`${JSON.stringify(table)}\n`);

process.stdin.resume();
await new Promise((resolve) => process.stdin.once("close", resolve).once("end", resolve));
