/** `sigil project mongo`: where the database is. */
import { parseMongoAddress } from "../../projections/mongo/connect.ts";
import { mongoDatabase } from "../../projections/mongo/database.ts";
import { mongoNameShape } from "../../projections/mongo/names.ts";
import { required, usage } from "../terminal/command.ts";
import { projectCommand, readPassword } from "./command.ts";

export const projectMongo = projectCommand({
  name: "mongo",
  about:
    "Fill a MongoDB database from the feed, and follow it. Every record is verified by keys that follow from the genesis\n" +
    "hash, and the tree by every checkpoint. The document current of the collection sigil names the collections to read.\n" +
    "Ctrl-C ends it; started again it goes on where it was. From a server it takes Root of tenant system, or a feed grant\n" +
    "for everything.",
  to: { value: "URL", about: "The database: mongodb://USER@HOST:PORT/DATABASE, without a password." },
  flags: {
    "password-file": {
      value: "FILE",
      about: "The password is its first line; MONGODB_PASSWORD unless told.",
    },
    collection: { value: "NAME", about: "What collections begin with; sigil unless told." },
  },
  example: { local: "mongodb://127.0.0.1/audit", remote: "mongodb://sigil@db.example/audit" },
  read: async (given, terminal) => {
    const parsed = parseMongoAddress(required(given, "to", "mongodb://USER@HOST:PORT/DATABASE"));
    if (parsed.kind === "refused") return usage(`--to ${parsed.rule}`);
    const name = given.text("collection") ?? "sigil";
    if (!mongoNameShape.test(name)) {
      return usage("--collection must be lower-case letters, digits and _, and begin with no digit");
    }
    return mongoDatabase(parsed.address, await readPassword(given, terminal, "MONGODB_PASSWORD"), { name });
  },
});
