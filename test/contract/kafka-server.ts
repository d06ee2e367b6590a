/**
 * Kafka itself for tests: the classes that scripts/services.sh installs, one process that is broker and controller, on
 * 127.0.0.1 with its logs in a temporary directory. It can be killed, suspended, and started again at the same place
 * with its data or without.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Admin } from "@platformatic/kafka";
import { repository } from "../../scripts/run.ts";

const classes = join(repository, "build/kafka");
const isThere = existsSync(classes) && spawnSync("java", ["-version"]).status === 0;

/** Why there is none here, for the title of a test. */
export const kafkaMissing: string | undefined = isThere
  ? undefined
  : "skipped: no Kafka: scripts/services.sh install kafka";

export type Kafka = AsyncDisposable & {
  /** `host:port` without TLS. */
  readonly server: string;
  /** `host:port` with TLS and SASL SCRAM; the user is `relay`. Only of a server with a certificate. */
  readonly secureServer: string;
  /** Directory of its logs. */
  readonly store: string;
  /** As by a power failure, but that what it wrote is there. */
  readonly kill: () => Promise<void>;
  /** Whether its process is alive. */
  readonly isRunning: () => boolean;
  /** Suspended: it takes connections and answers nothing. */
  readonly suspend: () => void;
  readonly wake: () => void;
  readonly start: () => Promise<void>;
  /** Of a server that does not run: it never had any. */
  readonly removeData: () => Promise<void>;
};

export type KafkaSettings = {
  /** Paths of PEM files. */
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** Of the user `relay`, and of the user `reader`, who may read and nothing else. */
  readonly password?: string;
  /** Where its logs go: a directory that is not there yet. */
  readonly store?: string;
  /** More lines of its configuration. */
  readonly settings?: readonly string[];
  /** How it compiles: `fast` to start, or `full` to be measured. */
  readonly compiler?: "fast" | "full";
};

const startMsMax = 90_000;

const freePorts = async (count: number): Promise<readonly number[]> => {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), "close")));
  return ports;
};

/** Whether it answers a client. */
const answers = async (server: string): Promise<boolean> => {
  const admin = new Admin({ clientId: "wait", bootstrapBrokers: [server], retries: 0, connectTimeout: 1000 });
  try {
    await admin.listTopics();
    return true;
  } catch {
    return false;
  } finally {
    await admin.close();
  }
};

const pemStore = ({ cert, key }: NonNullable<KafkaSettings["certificate"]>): string =>
  readFileSync(key, "utf8") + readFileSync(cert, "utf8");

export const startKafka = async (options: KafkaSettings = {}): Promise<Kafka> => {
  const { certificate, password = "right", settings = [], compiler = "fast" } = options;
  const directory = await mkdtemp(join(tmpdir(), "sigil-kafka-"));
  const [configPath, store] = [
    join(directory, "server.properties"),
    options.store ?? join(directory, "logs"),
  ];
  const [plain = 0, secure = 0, controller = 0] = await freePorts(3);
  const isSecure = certificate !== undefined;
  const keyStore = join(directory, "server.pem");
  if (isSecure) await writeFile(keyStore, pemStore(certificate), { mode: 0o600 });
  const secured = isSecure ? `,SECURE://127.0.0.1:${secure}` : "";
  const lines = [
    "process.roles=broker,controller",
    "node.id=1",
    `controller.quorum.voters=1@127.0.0.1:${controller}`,
    `listeners=PLAINTEXT://127.0.0.1:${plain},CONTROLLER://127.0.0.1:${controller}${secured}`,
    `advertised.listeners=PLAINTEXT://127.0.0.1:${plain}${secured.replace("127.0.0.1", "localhost")}`,
    "controller.listener.names=CONTROLLER",
    "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
    ...(isSecure
      ? [
          "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512",
          "listener.name.secure.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
          "listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;",
          "ssl.keystore.type=PEM",
          `ssl.keystore.location=${keyStore}`,
        ]
      : []),
    "auto.create.topics.enable=false",
    "offsets.topic.replication.factor=1",
    "offsets.topic.num.partitions=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "transaction.state.log.num.partitions=1",
    "share.coordinator.state.topic.replication.factor=1",
    "share.coordinator.state.topic.min.isr=1",
    "group.initial.rebalance.delay.ms=0",
    "log.segment.delete.delay.ms=100",
    "log.initial.task.delay.ms=100",
    // Until the one that was killed is forgotten, another with its id is not let in.
    "broker.session.timeout.ms=2000",
    "broker.heartbeat.interval.ms=500",
    `log.dirs=${store}`,
    ...settings,
  ];
  await writeFile(configPath, `${lines.join("\n")}\n`);
  const tiers = compiler === "fast" ? ["-XX:TieredStopAtLevel=1"] : [];
  const java = ["-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", ...tiers, "-cp", join(classes, "*")];
  const environment = { ...process.env, LOG_DIR: directory };
  let child: ChildProcess | undefined;

  const format = (): void => {
    const users = ["SCRAM-SHA-256", "SCRAM-SHA-512"].flatMap((mechanism) => [
      "--add-scram",
      `${mechanism}=[name=relay,password=${password}]`,
    ]);
    const words = ["kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c", configPath];
    const made = spawnSync("java", [...java, ...words, ...(isSecure ? users : [])], {
      encoding: "utf8",
      env: environment,
    });
    if (made.status !== 0) throw new Error(`Kafka's logs cannot be made:\n${made.stdout}${made.stderr}`);
  };

  const start = async (): Promise<void> => {
    if (!existsSync(store)) format();
    let log = "";
    const started = spawn("java", [...java, "kafka.Kafka", configPath], {
      stdio: ["ignore", "pipe", "pipe"],
      env: environment,
    });
    child = started;
    for (const stream of [started.stdout, started.stderr]) {
      stream.on("data", (part: Buffer) => (log = (log + part.toString()).slice(-20_000)));
    }
    for (const endMs = performance.now() + startMsMax; performance.now() < endMs;) {
      if (started.exitCode !== null) throw new Error(`Kafka ended:\n${log}`);
      if (await answers(`127.0.0.1:${plain}`)) return;
      await delay(100);
    }
    throw new Error(`Kafka does not start:\n${log}`);
  };

  const isRunning = (): boolean =>
    child !== undefined && child.exitCode === null && child.signalCode === null;

  const kill = async (): Promise<void> => {
    if (child === undefined || !isRunning()) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  };
  try {
    await start();
  } catch (error) {
    await kill();
    throw error;
  }
  return {
    server: `127.0.0.1:${plain}`,
    secureServer: `localhost:${secure}`,
    store,
    kill,
    isRunning,
    suspend: () => void child?.kill("SIGSTOP"),
    wake: () => void child?.kill("SIGCONT"),
    start,
    removeData: () => rm(store, { recursive: true }),
    [Symbol.asyncDispose]: async () => {
      await kill();
      await rm(directory, { recursive: true, force: true });
    },
  };
};
