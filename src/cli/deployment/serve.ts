/** `sigil serve`: runs the server until a signal stops it. Its flags are the configuration keys. */
import { readFileSync } from "node:fs";
import { describeConfig, readConfig, type Config } from "../../config/config.ts";
import { flagOf, KEYS, keyNames } from "../../config/keys.ts";
import { closeOnSignal } from "../../wire/signals.ts";
import { startServer, type RunningServer } from "../../wire/server.ts";
import { exitCodes, type Command, type Flags } from "../terminal/command.ts";
import { withoutClientVariables } from "../call/connection.ts";
import { kekInputsOf } from "../terminal/passphrase.ts";
import type { Terminal } from "../terminal/terminal.ts";

export const loadConfig = (argv: readonly string[], { environment }: Terminal): Config =>
  readConfig({
    argv,
    environment: withoutClientVariables(environment),
    readText: (path) => readFileSync(path, "utf8"),
  });

const defaults = describeConfig(readConfig({ argv: [], environment: {}, readText: () => "" }));
const defaultOf = (name: string): string => defaults.find(({ key }) => key === name)?.value ?? "";

/** The configuration's keys as flags, for the help. */
export const configFlags: Flags = {
  ...Object.fromEntries(
    keyNames
      .filter((name) => !KEYS[name].secret)
      .map((name) => {
        const { what, toggle } = KEYS[name];
        const initial = defaultOf(name);
        const off = toggle && initial === "true" ? `; --no-${flagOf(name).slice(2)} turns it off` : "";
        const about = initial === "" ? what : `${what} (${initial}${off})`;
        return [flagOf(name).slice(2), toggle ? { about } : { about, value: "VALUE" }];
      }),
  ),
  config: { about: "A TOML file of these keys; see docs/operating/configuration.md.", value: "FILE" },
};

/** Addresses of a running server. */
export type Served = Pick<RunningServer, "target" | "httpUrl">;

/** Resolves when a signal has stopped the server. */
export const serveUntilSignal = async (
  config: Config,
  terminal: Terminal,
  onServing: (served: Served) => void,
): Promise<void> => {
  await using kekInputs = kekInputsOf(terminal, { modulePath: config["pkcs11.module"] });
  const starting = startServer({ config, overrides: { kekInputs, ownsProcess: true } });
  const stopped = closeOnSignal(starting);
  await using server = await starting;
  onServing(server);
  await stopped;
};

export const serve: Command = {
  name: "serve",
  about:
    "Serve a deployment until SIGTERM or SIGINT; calls under way are finished first. SIGHUP reads certificates again.\n" +
    "Every flag is also a variable (--tls-cert: SIGIL_TLS_CERT) and a key of the file; flags win over variables,\n" +
    "variables over the file.",
  flags: configFlags,
  rawArguments: true,
  examples: [
    "sigil serve --data data",
    "sigil serve --data data --listen 0.0.0.0:443 --tls-cert server.pem --tls-key server-key.pem",
    "SIGIL_CONFIG=/etc/sigil.toml sigil serve",
  ],
  exits: ["0  stopped by a signal", "2  could not start"],
  run: async (_given, terminal, argv) => {
    await serveUntilSignal(loadConfig(argv, terminal), terminal, () => {});
    return exitCodes.ok;
  },
};
