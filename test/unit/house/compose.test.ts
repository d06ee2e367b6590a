/**
 * The compose files of the change feed are what the guides say of them. Docker is not needed: what the images do with
 * the files is not tested here.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { repository } from "../../../scripts/run.ts";
import { readConfig } from "../../../src/config/config.ts";
import { parseDynamoAddress } from "../../../src/projections/dynamo/address.ts";
import { parseMongoAddress } from "../../../src/projections/mongo/connect.ts";
import { parsePostgresAddress } from "../../../src/projections/postgres/connect.ts";
import { natsMissing, natsProgram } from "../../contract/nats-server.ts";

const read = (path: string): string => readFileSync(join(repository, path), "utf8");

type Value = string | readonly string[] | Mapping;
type Mapping = { [name: string]: Value };

/** What YAML reads as something else than this text, or not at all; older Composes take no booleans. */
const isOther = /^[\]{}&*!|>'%@`,#?-]|:\s|\s#|:$|^(?:true|false|yes|no|on|off|null|~)$/i;

const parseScalar = (text: string): string | readonly string[] => {
  if (text.startsWith("[") || text.startsWith('"')) return JSON.parse(text) as string | readonly string[];
  if (isOther.test(text)) throw new Error(`${text} needs quotes`);
  return text;
};

/** A YAML subset: two-space mappings, plain and quoted scalars, lists as JSON. @throws Error otherwise. */
const parseCompose = (text: string): Mapping => {
  const root: Mapping = {};
  const open: Mapping[] = [root];
  for (const line of text.split("\n").filter((one) => one !== "" && !one.startsWith("#"))) {
    const [, indent, name, value] = /^((?:  )*)([\w-]+):(?: (\S.*))?$/.exec(line) ?? [];
    const depth = (indent ?? "").length / 2;
    const parent = open[depth];
    if (name === undefined || parent === undefined || name in parent) throw new Error(`cannot read ${line}`);
    open.length = depth + 1;
    if (value !== undefined && value !== "{}") {
      parent[name] = parseScalar(value);
      continue;
    }
    const mapping: Mapping = {};
    parent[name] = mapping;
    open.push(mapping);
  }
  return root;
};

const at = (value: Value | undefined, ...names: readonly string[]): Value | undefined =>
  names.reduce<Value | undefined>(
    (found, name) =>
      typeof found === "object" && !Array.isArray(found) ? (found as Mapping)[name] : undefined,
    value,
  );

describe("every compose file of the examples", () => {
  const examples = join(repository, "examples");
  const names = readdirSync(examples, { recursive: true, encoding: "utf8" });
  const paths = names
    .filter((name) => /docker-compose[^/]*\.yml$/.test(name) && !name.includes("node_modules"))
    .map((name) => `examples/${name}`);
  const guides = readdirSync(join(repository, "docs/guides")).map((name) => read(`docs/guides/${name}`));

  for (const path of paths) {
    it(`is YAML that a guide starts, of pinned images, with ports of this machine alone: ${path}`, () => {
      const compose = parseCompose(read(path));
      const started = guides.filter((text) => text.includes(`docker compose -f ${path} up --wait`));
      expect(started).to.not.be.empty;
      const services = Object.keys(at(compose, "services") ?? {});
      for (const service of services)
        expect(at(compose, "services", service, "image")).to.match(/^[a-z/-]+:\d+(\.\d+)+(-\w+)?$/);
      for (const port of services.flatMap((service) => at(compose, "services", service, "ports") ?? []))
        expect(port).to.match(/^127\.0\.0\.1:\d+:\d+$/);
      const executed = started.flatMap((text) => text.split(`docker compose -f ${path} exec `).slice(1));
      for (const command of executed) {
        const [, service = "", user, database] = /^(\w+) psql -U (\w+) (\w+) /.exec(command) ?? [];
        const environment = at(compose, "services", service, "environment");
        expect([at(environment, "POSTGRES_USER"), at(environment, "POSTGRES_DB")]).to.deep.equal([
          user,
          database,
        ]);
      }
    });
  }

  it("are all found, and what YAML reads as something else is not", () => {
    expect(paths.length).to.be.at.least(3);
    for (const text of ["a: false", "a: b: c", "a: *b", "a: b #c", "a: 'b"])
      expect(() => parseCompose(text), text).to.throw("needs quotes");
    expect(parseCompose('a: "false"')).to.deep.equal({ a: "false" });
  });
});

describe("the compose file of the change feed", () => {
  const compose = parseCompose(read("examples/change-feed/docker-compose.yml"));
  const guide = read("docs/guides/change-feed.md");
  const services = ["nats", "postgres"];

  it("has the services that the guide names, each with a health check, a volume and a pinned version", () => {
    expect(Object.keys(at(compose, "services") ?? {})).to.deep.equal(services);
    expect(Object.keys(at(compose, "volumes") ?? {})).to.deep.equal(services);
    for (const name of services) {
      expect(at(compose, "services", name, "image")).to.match(/^[a-z]+:\d+(\.\d+)+(-alpine)?$/);
      expect(at(compose, "services", name, "healthcheck", "test")).to.include("CMD");
      expect(JSON.stringify(at(compose, "services", name, "volumes"))).to.match(new RegExp(`\\b${name}:/`));
    }
    const [, version] = /^nats_version=v(\S+)$/m.exec(read("scripts/services.sh")) ?? [];
    expect(at(compose, "services", "nats", "image")).to.equal(`nats:${version}-alpine`);
    expect(at(compose, "services", "postgres", "image")).to.match(/^postgres:15\./);
  });

  it("publishes the guide's ports, and only to this machine", () => {
    const ports = services.flatMap((name) => at(compose, "services", name, "ports") ?? []);
    expect(ports).to.deep.equal(["127.0.0.1:4222:4222", "127.0.0.1:5432:5432"]);
    expect(guide).to.include('servers = ["nats://127.0.0.1:4222"]');
    expect(guide).to.include("--from nats://127.0.0.1:4222/SIGIL");
  });

  it("is what the guide of NATS starts, with the sync that it names", () => {
    const page = read("docs/guides/change-feed-nats.md");
    expect(page).to.include("docker compose -f examples/change-feed/docker-compose.yml up --wait");
    expect(page).to.include("`sync_interval: always`");
  });

  it("makes the role and the database that the guide fills", () => {
    const [, address = ""] = /--to (postgres:\/\/sigil@127\S+)/.exec(guide) ?? [];
    const parsed = parsePostgresAddress(address);
    if (parsed.kind !== "ok") return expect.fail(parsed.rule);
    const { user, database, port } = parsed.address;
    expect([user, database, port]).to.deep.equal(["sigil", "audit", 5432]);
    const environment = at(compose, "services", "postgres", "environment");
    expect(at(environment, "POSTGRES_USER")).to.equal(user);
    expect(at(environment, "POSTGRES_DB")).to.equal(database);
  });

  it("holds no password: it takes the one that sigil reads, and does not start without", () => {
    const password = at(compose, "services", "postgres", "environment", "POSTGRES_PASSWORD");
    expect(password).to.match(/^\$\{PGPASSWORD:\?[^}]+\}$/);
    expect(guide).to.match(/^export PGPASSWORD="\$\(openssl rand -hex \d\d\)"$/m);
  });

  it("gives NATS a configuration with a sync before each acknowledgement", () => {
    const volumes = at(compose, "services", "nats", "volumes");
    expect(volumes).to.include("./nats.conf:/etc/nats/sigil.conf:ro");
    expect(at(compose, "services", "nats", "command")).to.include("/etc/nats/sigil.conf");
    const [, monitored = ""] = /^http: (\S+)$/m.exec(read("examples/change-feed/nats.conf")) ?? [];
    expect(at(compose, "services", "nats", "healthcheck", "test")).to.include(`http://${monitored}/healthz`);
    expect(read("examples/change-feed/nats.conf")).to.match(/^ {2}sync_interval: always$/m);
  });

  it(`gives NATS a configuration that it takes${natsMissing === undefined ? "" : ` (${natsMissing})`}`, function () {
    if (natsMissing !== undefined) this.skip();
    const path = join(repository, "examples/change-feed/nats.conf");
    const { status, stderr } = spawnSync(natsProgram, ["-t", "-c", path], { encoding: "utf8" });
    expect(status, stderr).to.equal(0);
  });
});

describe("the compose file of the change feed into MongoDB", () => {
  const compose = parseCompose(read("examples/change-feed-mongo/docker-compose.yml"));
  const guide = read("docs/guides/change-feed-mongo.md");
  const mongo = at(compose, "services", "mongo");

  it("has a pinned version, a health check, a volume, and a port of this machine alone", () => {
    expect(Object.keys(at(compose, "services") ?? {})).to.deep.equal(["mongo"]);
    expect(at(mongo, "image")).to.match(/^mongo:7(\.\d+)+$/);
    expect(at(mongo, "healthcheck", "test")).to.include("CMD");
    expect(at(mongo, "volumes")).to.deep.equal(["mongo:/data/db"]);
    expect(Object.keys(at(compose, "volumes") ?? {})).to.deep.equal(["mongo"]);
    expect(at(mongo, "ports")).to.deep.equal(["127.0.0.1:27017:27017"]);
  });

  it("makes the user that the guide names, by the password that sigil reads", () => {
    const [, address = ""] = /--to '(mongodb:\/\/sigil@127[^']+)'/.exec(guide) ?? [];
    const parsed = parseMongoAddress(address);
    if (parsed.kind !== "ok") return expect.fail(parsed.rule);
    const { user, hosts, authSource } = parsed.address;
    expect([user, hosts, authSource]).to.deep.equal(["sigil", ["127.0.0.1:27017"], "admin"]);
    const environment = at(mongo, "environment");
    expect(at(environment, "MONGO_INITDB_ROOT_USERNAME")).to.equal(user);
    expect(at(environment, "MONGO_INITDB_ROOT_PASSWORD")).to.match(/^\$\{MONGODB_PASSWORD:\?[^}]+\}$/);
    expect(guide).to.match(/^export MONGODB_PASSWORD="\$\(openssl rand -hex \d\d\)"$/m);
  });
});

describe("the compose file of the change feed into DynamoDB", () => {
  const compose = parseCompose(read("examples/change-feed-dynamo/docker-compose.yml"));
  const guide = read("docs/guides/change-feed-dynamo.md");
  const dynamo = at(compose, "services", "dynamo");

  it("has the Moto of the tests, a health check, and the port of this machine that the guide names", () => {
    const [, version = ""] = /^moto_version=(\S+)$/m.exec(read("scripts/services.sh")) ?? [];
    expect(Object.keys(at(compose, "services") ?? {})).to.deep.equal(["dynamo"]);
    expect(at(dynamo, "image")).to.equal(`motoserver/moto:${version}`);
    expect(at(dynamo, "healthcheck", "test")).to.include("CMD");
    expect(at(dynamo, "ports")).to.deep.equal(["127.0.0.1:8000:5000"]);
    const [, address = ""] = /--to '(dynamodb:[^']+)'/.exec(guide) ?? [];
    expect(parseDynamoAddress(address)).to.deep.equal({
      kind: "ok",
      address: { region: "eu-central-1", name: "audit", endpoint: "http://127.0.0.1:8000" },
    });
  });
});

describe("the compose file of the change feed with Kafka", () => {
  const compose = parseCompose(read("examples/change-feed/docker-compose.kafka.yml"));
  const guide = read("docs/guides/change-feed-kafka.md");
  const services = ["kafka", "postgres"];

  it("has Kafka as the tests have it and the same PostgreSQL, each with a health check and a volume", () => {
    expect(Object.keys(at(compose, "services") ?? {})).to.deep.equal(services);
    expect(Object.keys(at(compose, "volumes") ?? {})).to.deep.equal(services);
    for (const name of services) {
      expect(at(compose, "services", name, "healthcheck", "test")).to.include("CMD");
      expect(JSON.stringify(at(compose, "services", name, "volumes"))).to.match(new RegExp(`\\b${name}:/`));
    }
    const [, version] = /^kafka_version=(\S+)$/m.exec(read("scripts/services.sh")) ?? [];
    expect(at(compose, "services", "kafka", "image")).to.equal(`apache/kafka:${version}`);
    const other = parseCompose(read("examples/change-feed/docker-compose.yml"));
    expect(at(compose, "services", "postgres")).to.deep.equal(at(other, "services", "postgres"));
  });

  it("publishes the guide's ports, and only to this machine", () => {
    const ports = services.flatMap((name) => at(compose, "services", name, "ports") ?? []);
    expect(ports).to.deep.equal(["127.0.0.1:9092:9092", "127.0.0.1:5432:5432"]);
    const environment = at(compose, "services", "kafka", "environment");
    expect(at(environment, "KAFKA_ADVERTISED_LISTENERS")).to.equal("PLAINTEXT://127.0.0.1:9092");
    expect(guide).to.include('servers = ["kafka://127.0.0.1:9092"]');
    expect(guide).to.include("--from kafka://127.0.0.1:9092/sigil");
  });

  it("syncs each batch before Kafka acknowledges it, and creates no topic by itself", () => {
    const environment = at(compose, "services", "kafka", "environment");
    expect(at(environment, "KAFKA_LOG_FLUSH_INTERVAL_MESSAGES")).to.equal("1");
    expect(at(environment, "KAFKA_AUTO_CREATE_TOPICS_ENABLE")).to.equal("false");
  });
});

describe("the compose file of the change feed over SQS", () => {
  const compose = parseCompose(read("examples/change-feed-sqs/docker-compose.yml"));
  const guide = read("docs/guides/change-feed-sqs.md");
  const services = ["sqs", "postgres"];

  it("has the services that the guide names, each with a health check, a volume and a pinned version", () => {
    expect(Object.keys(at(compose, "services") ?? {})).to.deep.equal(services);
    expect(Object.keys(at(compose, "volumes") ?? {})).to.deep.equal(services);
    for (const name of services) {
      expect(at(compose, "services", name, "healthcheck", "test")).to.include("CMD");
      expect(JSON.stringify(at(compose, "services", name, "volumes"))).to.match(new RegExp(`\\b${name}:/`));
    }
    const [, version] = /^elasticmq_version=(\S+)$/m.exec(read("scripts/services.sh")) ?? [];
    expect(at(compose, "services", "sqs", "image")).to.equal(`softwaremill/elasticmq:${version}`);
    expect(at(compose, "services", "postgres", "image")).to.match(/^postgres:15\./);
  });

  it("publishes the guide's ports, and only to this machine", () => {
    const ports = services.flatMap((name) => at(compose, "services", name, "ports") ?? []);
    expect(ports).to.deep.equal(["127.0.0.1:9324:9324", "127.0.0.1:5432:5432"]);
    expect(guide).to.include('endpoint = "http://127.0.0.1:9324"');
    expect(guide).to.include("--from sqs://elasticmq/sigil.fifo --sqs-endpoint http://127.0.0.1:9324");
    expect(guide).to.include("--to postgres://sigil@127.0.0.1:5432/audit");
  });

  it("takes the relay's lines of the guide", () => {
    const [, file = ""] = /```toml\n([\s\S]*?)```/.exec(guide) ?? [];
    const { relays } = readConfig({
      argv: ["--config", "sigil.toml"],
      environment: {},
      readText: () => file,
    });
    expect(relays.map(({ target }) => target)).to.deep.equal([
      {
        kind: "sqs",
        queue: "sigil.fifo",
        region: "elasticmq",
        endpoint: "http://127.0.0.1:9324",
        groups: "record",
        onMissing: "create",
      },
    ]);
  });

  it("holds no password: it takes the one that sigil reads, and does not start without", () => {
    const password = at(compose, "services", "postgres", "environment", "POSTGRES_PASSWORD");
    expect(password).to.match(/^\$\{PGPASSWORD:\?[^}]+\}$/);
    expect(guide).to.match(/^export PGPASSWORD="\$\(openssl rand -hex \d\d\)"$/m);
  });
});
