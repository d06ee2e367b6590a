/** The key `relays`: tables of the file or JSON, and faults that name relay and field. */
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { describe, it } from "mocha";
import { readConfig } from "../../../src/config/config.ts";
import { BadRelay } from "../../../src/config/relay-fields.ts";
import { readRelays } from "../../../src/config/relays.ts";

const files = { name: "siem", to: "files", directory: "/var/log/sigil" };
const nats = { name: "bus", to: "nats", servers: ["tls://nats.example:4222"], stream: "SIGIL" };
const queue = { name: "queue", to: "sqs", queue: "sigil.fifo", region: "eu-central-1" };

const kafka = { name: "log", to: "kafka", servers: ["kafkas://kafka.example:9093"], topic: "sigil" };

const hook = { name: "hook", to: "webhook", url: "https://hooks.example/s", secret_file: "/etc/sigil/hook" };

const faultOf = (...tables: readonly unknown[]): string => {
  try {
    readRelays(JSON.stringify(tables));
  } catch (error) {
    if (error instanceof BadRelay) return error.message;
    throw error;
  }
  return "";
};

const fromFile = (file: string) =>
  readConfig({ argv: ["--config", "sigil.toml"], environment: {}, readText: () => file }).relays;

describe("the relays of a configuration", () => {
  it("are tables of the file, or the same as JSON", () => {
    const [one] = fromFile('[[relays]]\nname = "siem"\nto = "files"\ndirectory = "/var/log/sigil"\n');
    expect(one).to.deep.equal({
      name: "siem",
      data: "full",
      format: "envelope",
      disclosures: "withheld",
      typePrefix: "sigil",
      tenants: undefined,
      kinds: undefined,
      spaces: undefined,
      from: 0n,
      target: {
        kind: "files",
        directory: "/var/log/sigil",
        fileBytesMax: 64 << 20,
        fileAgeMsMax: 86_400_000,
      },
    });
    expect(readRelays(JSON.stringify([files]))).to.deep.equal([one]);
    const environment = { SIGIL_RELAYS: JSON.stringify([files]) };
    expect(readConfig({ argv: [], environment, readText: () => "" }).relays).to.deep.equal([one]);
    expect(readConfig({ argv: [], environment: {}, readText: () => "" }).relays).to.deep.equal([]);
  });

  it("discloses where it says so, of whole records", () => {
    const [one] = readRelays(JSON.stringify([{ ...files, disclosures: true }]));
    expect(one).to.include({ disclosures: "included", data: "full" });
    for (const table of [files, { ...files, disclosures: false }])
      expect(readRelays(JSON.stringify([table]))[0]).to.include({ disclosures: "withheld" });
  });

  it("name the relay and the field of what is wrong", () => {
    const cases: readonly (readonly [object, string])[] = [
      [{ ...files, disclosures: true, data: "metadata" }, "[0].disclosures goes with data = full"],
      [{ ...files, disclosures: "yes" }, "[0].disclosures must be true or false"],
      [{ ...files, name: "A" }, "[0].name must be"],
      [{ ...files, to: "carrier" }, "[0].to must be one of files, nats, kafka, sqs, webhook"],
      [{ ...files, directory: "logs" }, "[0].directory must be an absolute path"],
      [{ ...files, direktory: "/x" }, "[0].direktory is not known; did you mean directory?"],
      [{ ...files, stream: "X" }, "[0].stream is not known"],
      [{ ...files, data: "some" }, "[0].data must be one of full, metadata"],
      [{ ...files, format: "xml" }, "[0].format must be one of envelope, json"],
      [{ ...files, tenants: [] }, "[0].tenants must be a list"],
      [{ ...files, tenants: ["ok", "A*"] }, "[0].tenants[1] may hold only"],
      [{ ...files, spaces: ["all"] }, "[0].spaces[0] must be user or system"],
      [{ ...files, from: -1 }, "[0].from must be a whole number"],
      [{ ...files, file_bytes_max: 1 }, "[0].file_bytes_max must be a whole number"],
      [{ ...files, type_prefix: "a..b" }, "[0].type_prefix must be"],
      [{ ...nats, servers: undefined }, "[0].servers must be a list"],
      [{ ...nats, servers: ["http://x"] }, "[0].servers[0] must be nats://"],
      [{ ...nats, servers: ["tls://me:secret@x:1"] }, "[0].servers[0] must hold no credentials"],
      [{ ...nats, servers: ["nats://nats.example:4222"] }, "[0].servers would get whole records without TLS"],
      [{ ...nats, stream: "a.b" }, "[0].stream must be"],
      [{ ...nats, subject_prefix: "a.*" }, "[0].subject_prefix must be"],
      [{ ...nats, user: "me" }, "[0].user and password_file go together"],
      [{ ...nats, token_file: "/t", credentials_file: "/c" }, "[0].credentials_file goes with neither"],
      [{ ...nats, tls_cert: "/c" }, "[0].tls_cert and tls_key go together"],
      [{ ...nats, password: "secret" }, "[0].password is not known"],
      [{ ...queue, queue: "sigil" }, "[0].queue must be the name of a FIFO queue"],
      [{ ...queue, queue: `${"q".repeat(76)}.fifo` }, "[0].queue must be the name of a FIFO queue"],
      [{ ...queue, region: undefined }, "[0].region must be text"],
      [{ ...queue, region: "EU West" }, "[0].region must be a region"],
      [{ ...queue, endpoint: "sqs.example" }, "[0].endpoint must be https://"],
      [{ ...queue, endpoint: "https://sqs.example/queue" }, "[0].endpoint must be https://"],
      [{ ...queue, endpoint: "https://me:secret@sqs.example" }, "[0].endpoint must be https://"],
      [{ ...queue, endpoint: "http://sqs.example" }, "[0].endpoint would get whole records without TLS"],
      [{ ...queue, create: "yes" }, "[0].create must be true or false"],
      [{ ...kafka, servers: ["nats://x:1"] }, "[0].servers[0] must be kafka://host:port or kafkas://"],
      [{ ...kafka, servers: ["kafkas://x"] }, "[0].servers[0] must name a port"],
      [{ ...kafka, servers: ["kafka://x:1", "kafkas://x:2"] }, "[0].servers must be all kafka:// or all"],
      [
        { ...kafka, servers: ["kafka://x:1"] },
        "[0].servers would get whole records without TLS: use kafkas://",
      ],
      [
        { ...kafka, servers: ["kafka://127.0.0.1:1"], tls_ca: "/c" },
        "[0].tls_ca and tls_cert go with kafkas://",
      ],
      [{ ...kafka, topic: "sigil-g2" }, "[0].topic must be"],
      [{ ...kafka, topic: ".." }, "[0].topic must be"],
      [{ ...kafka, partitions: 0 }, "[0].partitions must be a whole number"],
      [{ ...kafka, message_bytes_max: 1000 }, "[0].message_bytes_max must be a whole number"],
      [{ ...kafka, user: "me" }, "[0].user and password_file go together"],
      [{ ...kafka, scram: "md5" }, "[0].scram must be one of sha-256, sha-512"],
      [{ ...hook, url: undefined }, "[0].url must be text"],
      [{ ...hook, url: "ftp://x" }, "[0].url must be https://host/path"],
      [{ ...hook, url: "http://hooks.example/" }, "[0].url must be https:// beyond this machine"],
      [{ ...hook, url: "http://127.0.0.1.example/" }, "[0].url must be https:// beyond this machine"],
      [{ ...hook, url: "https://me:secret@x/" }, "[0].url must hold no credentials"],
      [{ ...hook, url: "https://x/#f" }, "[0].url must have no fragment"],
      [{ ...hook, secret_env: "X" }, "[0].secret_file or secret_env"],
      [{ ...hook, secret_file: undefined }, "[0].secret_file or secret_env"],
      [{ ...hook, signature: "v2" }, "[0].signature must be one of v1, v1a"],
      [{ ...hook, private_addresses: ["10.0.0.0/33"] }, "[0].private_addresses[0] must be an address"],
      [{ ...hook, private_addresses: ["intranet"] }, "[0].private_addresses[0] must be an address"],
      [{ ...hook, parallel: 0 }, "[0].parallel must be a whole number"],
      [{ ...hook, timeout_ms: 1 }, "[0].timeout_ms must be a whole number"],
      [{ ...hook, poison: "skip" }, "[0].poison must be one of stop_key, dead_letter"],
      [{ ...hook, poison: "dead_letter" }, "[0].dead_letter_file must be"],
      [{ ...hook, dead_letter_file: "/d" }, "[0].dead_letter_file is not known"],
    ];
    for (const [table, rule] of cases) expect(faultOf(table)).to.contain(rule);
    expect(faultOf(files, "x")).to.contain("[1] must be a table");
    expect(faultOf(files, { ...files, directory: "/other" })).to.contain("[1] has the name siem");
    expect(faultOf(files, { ...files, name: "other" })).to.contain("[1] has the directory /var/log/sigil");
    expect(faultOf(files, { ...files, name: "other", directory: "/var/log/./sigil/" })).to.contain(
      "[1] has the directory /var/log/sigil",
    );
    const letters = { ...hook, poison: "dead_letter", dead_letter_file: "/d" };
    expect(faultOf(letters, { ...letters, name: "other" })).to.contain("[1] has the dead letters /d");
    const same = { ...letters, name: "other", dead_letter_file: "/e/../d" };
    expect(faultOf(letters, same)).to.contain("[1] has the dead letters /d");
    expect(() => readRelays("{}")).to.throw(BadRelay, "[[relays]]");
    expect(() => readRelays("no")).to.throw(BadRelay, "[[relays]]");
    expect(() => fromFile('[[relays]]\nname = "x"\n')).to.throw("relays in sigil.toml: [0].to must be");
    expect(() => fromFile("relays = 2026-01-01\n")).to.throw("relays in sigil.toml");
    expect(faultOf({ ...nats, tls_cert: "/c", password: "top-secret" })).not.to.contain("top-secret");
  });

  it("may send whole records without TLS only on this machine, as metadata, or when that is said", () => {
    const plain = { ...nats, servers: ["nats://nats.example:4222"] };
    expect(faultOf({ ...nats, servers: ["nats://127.0.0.1:4222"] })).to.equal("");
    expect(faultOf({ ...plain, data: "metadata" })).to.equal("");
    expect(faultOf({ ...plain, plaintext: true })).to.equal("");
    expect(faultOf({ ...plain, tls_ca: "/ca.pem" })).to.equal("");
  });

  it("read a queue's fields, and send without TLS only to this machine, or when that is said", () => {
    const target = (table: object) => readRelays(JSON.stringify([{ ...queue, ...table }]))[0]?.target;
    const initial = {
      kind: "sqs",
      queue: "sigil.fifo",
      region: "eu-central-1",
      endpoint: "",
      groups: "record",
      onMissing: "fail",
    };
    expect(target({})).to.deep.equal(initial);
    expect(target({ create: true })).to.deep.equal({ ...initial, onMissing: "create" });
    expect(target({ groups: "feed" })).to.deep.equal({ ...initial, groups: "feed" });
    expect(faultOf({ ...queue, groups: "tenant" })).to.contain("[0].groups must be one of record, feed");
    for (const endpoint of ["http://127.0.0.1:9324", "https://sqs.example"])
      expect(target({ endpoint })).to.deep.equal({ ...initial, endpoint });
    const [tls_ca, secure] = ["/etc/sigil/ca.pem", "https://sqs.example"];
    expect(target({ endpoint: secure, tls_ca })).to.deep.equal({ ...initial, endpoint: secure, ca: tls_ca });
    expect(faultOf({ ...queue, endpoint: "http://127.0.0.1:9324", tls_ca })).to.contain(
      "[0].tls_ca goes with",
    );
    const endpoint = "http://sqs.example:9324";
    expect(target({ endpoint, plaintext: true })).to.include({ endpoint });
    expect(readRelays(JSON.stringify([{ ...queue, endpoint, data: "metadata" }]))).to.have.length(1);
    expect(faultOf(queue, { ...queue, name: "other" })).to.contain("[1] has the queue sigil.fifo");
    expect(faultOf(queue, { ...queue, name: "other", region: "eu-west-1" })).to.equal("");
  });

  it("read a webhook's fields, and send without TLS only to this machine", () => {
    const target = (table: object) => readRelays(JSON.stringify([{ ...hook, ...table }]))[0]?.target;
    expect(target({})).to.deep.equal({
      kind: "webhook",
      url: "https://hooks.example/s",
      signature: "v1",
      secret: { kind: "file", path: "/etc/sigil/hook" },
      privateAddresses: [],
      ca: "",
      timeoutMs: 15_000,
      parallel: 8,
      messageBytesMax: 1 << 20,
      poison: { kind: "stop_key" },
    });
    const other = { secret_file: undefined, secret_env: "HOOK", private_addresses: ["10.0.0.0/8", "::1"] };
    expect(target({ ...other, poison: "dead_letter", dead_letter_file: "/d" })).to.deep.include({
      secret: { kind: "environment", name: "HOOK" },
      privateAddresses: ["10.0.0.0/8", "::1"],
      poison: { kind: "dead_letter", path: "/d" },
    });
    for (const url of ["http://localhost:1/", "http://127.0.0.1/", "http://[::1]:1/"])
      expect(target({ url })).to.include({ url });
  });

  it("read Kafka's fields, and where its TLS and passwords come from", () => {
    const target = (table: object) => readRelays(JSON.stringify([{ ...kafka, ...table }]))[0]?.target;
    expect(target({})).to.deep.equal({
      kind: "kafka",
      connection: {
        servers: ["kafka.example:9093"],
        tls: { ca: "", cert: "", key: "" },
        login: { kind: "none" },
      },
      topic: "sigil",
      partitions: 6,
      replicas: 1,
      messageBytesMax: 1 << 20,
    });
    const login = { user: "relay", password_file: "/p", scram: "sha-256" };
    expect(target({ servers: ["kafka://[::1]:9092", "kafka://localhost:9093"], ...login })).to.deep.include({
      connection: {
        servers: ["[::1]:9092", "localhost:9093"],
        tls: null,
        login: { kind: "scram", mechanism: "SCRAM-SHA-256", user: "relay", passwordPath: "/p" },
      },
    });
    expect(faultOf(kafka, { ...kafka, name: "other" })).to.contain("[1] has the topic sigil");
  });

  it("are those of the page for operators", () => {
    const page = readFileSync(new URL("../../../docs/operating/relay.md", import.meta.url), "utf8");
    const [, file = ""] = /```toml\n([\s\S]*?)```/.exec(page) ?? [];
    expect(fromFile(file).map(({ name }) => name)).to.deep.equal(["siem", "bus", "log", "hook", "queue"]);
  });
});
