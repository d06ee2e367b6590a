/** `sigil audit page`: the page that verifies evidence files in a browser, as one file. */
import { readPage } from "../../verifier/page.ts";
import { exitCodes, type Command } from "../terminal/command.ts";

export const auditPage: Command = {
  name: "audit page",
  about:
    "Print a page that verifies evidence files in a browser: one HTML file, opened from disk, with no server and nothing that\n" +
    "it asks for. Give it, with a file, to whom has no command line; they need the genesis hash or a policy from elsewhere.",
  flags: {},
  examples: ["sigil audit page > verify.html"],
  run: async (_given, terminal) => {
    terminal.print(readPage().trimEnd());
    return exitCodes.ok;
  },
};
