/** `sigil project postgres`: where the database is, and who may read it. */
import { parsePostgresAddress } from "../../projections/postgres/connect.ts";
import { postgresDatabase } from "../../projections/postgres/database.ts";
import { schemaNameShape } from "../../projections/postgres/schema.ts";
import { required, usage, type Arguments } from "../terminal/command.ts";
import { projectCommand, readPassword } from "./command.ts";

const readName = (given: Arguments): string => {
  const name = given.text("schema") ?? "sigil";
  return schemaNameShape.test(name)
    ? name
    : usage("--schema must be lower-case letters, digits and _, and begin with no digit");
};

export const projectPostgres = projectCommand({
  name: "postgres",
  about:
    "Fill a PostgreSQL database from the feed, and follow it. Every record is verified by keys that follow from the genesis\n" +
    "hash, and the tree by every checkpoint. Tables lie in the schema sigil_v1, views for people in sigil. Ctrl-C ends it;\n" +
    "started again it goes on where it was. From a server it takes Root of tenant system, or a feed grant for everything.",
  to: { value: "URL", about: "The database: postgres://USER@HOST:PORT/DATABASE, without a password." },
  flags: {
    "password-file": { value: "FILE", about: "The password is its first line; PGPASSWORD unless told." },
    schema: { value: "NAME", about: "Of the views; sigil unless told." },
    reader: { value: "ROLE", about: "May read the views, and nothing else.", multiple: true },
  },
  example: {
    local: "postgres://sigil@127.0.0.1/audit",
    remote: "postgres://sigil@db.example/audit",
    more: " --reader analyst",
  },
  read: async (given, terminal) => {
    const parsed = parsePostgresAddress(required(given, "to", "postgres://USER@HOST:PORT/DATABASE"));
    if (parsed.kind === "refused") return usage(`--to ${parsed.rule}`);
    const password = await readPassword(given, terminal, "PGPASSWORD");
    const options = { name: readName(given), readers: given.texts("reader") };
    return postgresDatabase(parsed.address, password, options);
  },
});
