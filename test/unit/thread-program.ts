/** A program for threads: doubles numbers, refuses what is negative, ends at zero. */
import { answerRequests } from "../../src/threads.ts";

answerRequests((request: number) => {
  if (request === 0) process.exit(3);
  if (request < 0) throw new RangeError("a number is not negative");
  return { answer: 2 * request, moved: [] };
});
