/** A process that ends so many milliseconds after its signing thread began to start; run by a test. */
import { generateKeyPairSync } from "node:crypto";
import { createPromptSigner, createThreadSigner } from "../../../src/crypto/signing/sign.ts";

const newKey = () => generateKeyPairSync("ed25519").privateKey;
const signer = createThreadSigner(newKey());
await createPromptSigner(newKey()).sign(Uint8Array.of(1));
await signer.sign(Uint8Array.of(1));
await new Promise((resolve) => setTimeout(resolve, Number(process.argv[2])));
await Promise.all(Array.from({ length: 50 }, () => signer.sign(Uint8Array.of(2))));
process.exit(0);
