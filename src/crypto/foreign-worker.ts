/** The program of a thread that verifies foreign signatures, by every implementation. */
import { verifyForeign } from "@sigil/core/keys";
import { answerRequests } from "../threads.ts";
import type { ForeignRequest } from "./foreign-threads.ts";

answerRequests(async ({ publicKey, message, signature }: ForeignRequest) => ({
  answer: await verifyForeign(publicKey, message, signature),
  moved: [],
}));
