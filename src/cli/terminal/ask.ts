/** Interactive yes/no questions. */
import { createInterface } from "node:readline/promises";
import { usage } from "./command.ts";
import { isKeyboard } from "./passphrase.ts";
import type { Terminal } from "./terminal.ts";

/** @throws usage if standard input is not interactive and --yes was not given. */
export const requireAnswer = (saidYes: boolean, { input }: Terminal): void => {
  if (!saidYes && !isKeyboard(input)) {
    usage("standard input is no terminal, so nobody can be asked: look at it first, then say --yes");
  }
};

/** @returns whether the answer was y; end of input means no. */
export const confirm = async (question: string, { input, note }: Terminal): Promise<boolean> => {
  note(`${question} [y/N]`);
  const lines = createInterface({ input });
  try {
    for await (const line of lines) return /^\s*y(?:es)?\s*$/i.test(line);
    return false;
  } finally {
    lines.close();
  }
};
