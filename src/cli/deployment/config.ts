/** `sigil config`: the configuration for `sigil serve`, and the source of each value. */
import { describeConfig } from "../../config/config.ts";
import { exitCodes, type Command } from "../terminal/command.ts";
import { configFlags, loadConfig } from "./serve.ts";
import { formatTable } from "../terminal/terminal.ts";

const jsonWord = "--json";

export const config: Command = {
  name: "config",
  about:
    "Show the configuration that sigil serve would run with, and where each value comes from; secrets masked.",
  flags: { ...configFlags, json: { about: "Print JSON instead of text." } },
  rawArguments: true,
  examples: [
    "sigil config",
    "sigil config --listen 127.0.0.1:6000 --json",
    "SIGIL_LOG_LEVEL=debug sigil config",
  ],
  run: async (_given, terminal, argv) => {
    const settings = describeConfig(
      loadConfig(
        argv.filter((word) => word !== jsonWord),
        terminal,
      ),
    );
    terminal.print(
      argv.includes(jsonWord)
        ? JSON.stringify(settings.map(({ key, value, source }) => ({ key, value, source })))
        : formatTable(
            [{ title: "KEY" }, { title: "VALUE" }, { title: "FROM" }],
            settings.map(({ key, value, source }) => [key, value, source]),
          ),
    );
    return exitCodes.ok;
  },
};
