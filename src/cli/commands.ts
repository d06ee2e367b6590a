/**
 * Every command by name. A command's file is loaded only when it runs, so that `sigil check` does not load the server.
 */
import type { Command } from "./terminal/command.ts";

type Entry = {
  readonly about: string;
  readonly load: () => Promise<Command>;
  /** Scans a whole ledger: the process limits its heap. */
  readonly walks?: true;
};

export const commands: Readonly<Record<string, Entry>> = {
  dev: {
    about: "Serve a development deployment in .sigil/ with sample principals.",
    load: async () => (await import("./deployment/dev.ts")).dev,
  },
  init: {
    about: "Make a deployment: keys, genesis record, first model.",
    load: async () => (await import("./deployment/init.ts")).init,
  },
  serve: {
    about: "Serve a deployment.",
    load: async () => (await import("./deployment/serve.ts")).serve,
  },
  config: {
    about: "Show the effective configuration, secrets masked.",
    load: async () => (await import("./deployment/config.ts")).config,
  },
  fsck: {
    about: "Check a data directory, or with --live what a server has on its disk.",
    load: async () => (await import("./deployment/fsck.ts")).fsck,
    walks: true,
  },
  migrate: {
    about: "Bring a data directory of an older format to this program's.",
    load: async () => (await import("./deployment/migrate.ts")).migrate,
    walks: true,
  },
  "keys list": {
    about: "List the keys that sign records and checkpoints, and tenants' data keys.",
    load: async () => (await import("./keys/keys.ts")).keysList,
  },
  "keys rotate": {
    about: "Replace a signing key, or a tenant's data key, while the server serves.",
    load: async () => (await import("./keys/keys.ts")).keysRotate,
  },
  "keys retire": {
    about: "Stop trusting a signing key from a position on.",
    load: async () => (await import("./keys/keys.ts")).keysRetire,
  },
  "keys destroy-tenant": {
    about: "Propose to destroy a tenant's data keys: its records become unreadable for good.",
    load: async () => (await import("./keys/destroy.ts")).keysDestroyTenant,
  },
  "keys walk": {
    about: "Verify every signing key from the genesis record's hash.",
    load: async () => (await import("./keys/walk.ts")).keysWalk,
  },
  "keys rewrap": {
    about: "Move a data directory to another key-encryption key.",
    load: async () => (await import("./deployment/rewrap.ts")).keysRewrap,
  },
  "principal list": {
    about: "List principals: levels, keys, and who is suspended.",
    load: async () => (await import("./principal/principal.ts")).principalList,
  },
  "principal show": {
    about: "Show one principal, its keys and what is suspended of it.",
    load: async () => (await import("./principal/principal.ts")).principalShow,
  },
  "principal suspend": {
    about: "Suspend a principal, or one of its keys, immediately.",
    load: async () => (await import("./principal/suspend.ts")).principalSuspend,
  },
  "principal lift": {
    about: "Propose to lift a suspension.",
    load: async () => (await import("./principal/suspend.ts")).principalLift,
  },
  "feed grant": {
    about: "Propose that a principal may read the feed and nothing else.",
    load: async () => (await import("./principal/feed.ts")).feedGrant,
  },
  "feed withdraw": {
    about: "Withdraw a feed grant at once.",
    load: async () => (await import("./principal/feed.ts")).feedWithdraw,
  },
  "feed list": {
    about: "List the feed grants.",
    load: async () => (await import("./principal/feed.ts")).feedList,
  },
  "feed show": {
    about: "Show what a principal may read of the feed.",
    load: async () => (await import("./principal/feed.ts")).feedShow,
  },
  backup: {
    about: "Copy a running deployment into a directory.",
    load: async () => (await import("./deployment/backup.ts")).backup,
    walks: true,
  },
  restore: {
    about: "Restore a deployment from a backup.",
    load: async () => (await import("./deployment/restore.ts")).restore,
    walks: true,
  },
  "relay run": {
    about: "Run relays in a process of their own, which read a server's feed.",
    load: async () => (await import("./relay/run.ts")).relayRun,
  },
  "relay status": {
    about: "Show what each relay of a server on this machine does.",
    load: async () => (await import("./relay/relay.ts")).relayStatus,
  },
  "relay pause": {
    about: "Stop publishing until the relay is resumed.",
    load: async () => (await import("./relay/relay.ts")).relayPause,
  },
  "relay resume": {
    about: "Publish again after a pause, or after it stopped.",
    load: async () => (await import("./relay/relay.ts")).relayResume,
  },
  "relay reset": {
    about: "Publish again from a position on, as a new generation.",
    load: async () => (await import("./relay/relay.ts")).relayReset,
  },
  "relay erase": {
    about: "Take back what relays published of an erased tenant.",
    load: async () => (await import("./relay/erase.ts")).relayErase,
  },
  "key new": {
    about: "Make a key pair in a new file.",
    load: async () => (await import("./key/key.ts")).keyNew,
  },
  "key show": {
    about: "Show the public key of a key file.",
    load: async () => (await import("./key/key.ts")).keyShow,
  },
  token: {
    about: "Sign a token to call with.",
    load: async () => (await import("./key/token.ts")).token,
  },
  check: {
    about: "Ask whether something may happen, once or for a file of requests.",
    load: async () => (await import("./check/check.ts")).check,
  },
  "audit get": {
    about: "Show one recorded decision.",
    load: async () => (await import("./audit/audit.ts")).auditGet,
  },
  "audit list": {
    about: "List recorded decisions.",
    load: async () => (await import("./audit/audit.ts")).auditList,
  },
  "audit verify": {
    about: "Verify one recorded decision, step by step.",
    load: async () => (await import("./audit/audit.ts")).auditVerify,
  },
  "audit replay": {
    about: "Work a decision out again by the model that it names.",
    load: async () => (await import("./audit/replay.ts")).auditReplay,
  },
  "audit checkpoint": {
    about: "Show a signed checkpoint, the newest or of a size.",
    load: async () => (await import("./audit/audit.ts")).auditCheckpoint,
  },
  "audit proof": {
    about: "Show the proof that a record is in the ledger.",
    load: async () => (await import("./audit/proof.ts")).auditProof,
  },
  "audit evidence": {
    about: "Print a record with all that a stranger needs to verify it.",
    load: async () => (await import("./audit/evidence.ts")).auditEvidence,
  },
  "audit page": {
    about: "Print the page that verifies evidence files in a browser.",
    load: async () => (await import("./audit/page.ts")).auditPage,
  },
  "audit export": {
    about: "Write the decisions of a span of time as an evidence pack.",
    load: async () => (await import("./pack/export.ts")).auditExport,
  },
  verify: {
    about: "Verify evidence files and packs, without a server.",
    load: async () => (await import("./audit/verify-files.ts")).verify,
  },
  "audit completeness": {
    about: "Prove how many decisions a caller has, and that none is left out.",
    load: async () => (await import("./audit/completeness.ts")).auditCompleteness,
  },
  "tiles export": {
    about: "Write the ledger as a tiled transparency log into a directory.",
    load: async () => (await import("./tiles/tiles.ts")).tilesExport,
  },
  "model get": {
    about: "Show the active trust model.",
    load: async () => (await import("./model/model.ts")).modelGet,
  },
  "model check": {
    about: "Check a trust model for likely mistakes.",
    load: async () => (await import("./model/check.ts")).modelCheck,
  },
  simulate: {
    about: "See what a candidate model would have decided.",
    load: async () => (await import("./model/simulate.ts")).simulate,
  },
  "canon put": {
    about: "Write one version of a record of your tenant.",
    load: async () => (await import("./canon/write.ts")).canonPut,
  },
  "canon get": {
    about: "Show a record.",
    load: async () => (await import("./canon/read.ts")).canonGet,
  },
  "canon list": {
    about: "List records.",
    load: async () => (await import("./canon/read.ts")).canonList,
  },
  "canon history": {
    about: "List the versions of one record.",
    load: async () => (await import("./canon/read.ts")).canonHistory,
  },
  "canon watch": {
    about: "Print records as they are committed.",
    load: async () => (await import("./canon/watch.ts")).canonWatch,
  },
  "canon rm": {
    about: "End a record; its history stays.",
    load: async () => (await import("./canon/write.ts")).canonRm,
  },
  propose: {
    about: "Propose a change of a system record.",
    load: async () => (await import("./proposal/propose.ts")).propose,
  },
  proposals: {
    about: "List proposals.",
    load: async () => (await import("./proposal/proposal.ts")).proposals,
  },
  proposal: {
    about: "Show one proposal and its change, field by field.",
    load: async () => (await import("./proposal/proposal.ts")).proposal,
  },
  attest: {
    about: "Review a proposal and sign it as a witness.",
    load: async () => (await import("./attest/attest.ts")).attest,
  },
  commit: {
    about: "Commit a proposal that enough witnesses have approved.",
    load: async () => (await import("./proposal/proposal.ts")).commit,
  },
  withdraw: {
    about: "Withdraw a proposal.",
    load: async () => (await import("./proposal/proposal.ts")).withdraw,
  },
  "module list": {
    about: "List the modules that a quorum approved.",
    load: async () => (await import("./module/module.ts")).moduleList,
  },
  "module get": {
    about: "Show one module.",
    load: async () => (await import("./module/module.ts")).moduleGet,
  },
  "module run": {
    about: "Run a module.",
    load: async () => (await import("./module/run.ts")).moduleRun,
  },
  "module propose": {
    about: "Send a module's code and propose it.",
    load: async () => (await import("./module/propose.ts")).modulePropose,
  },
  "module retire": {
    about: "Propose the end of a module.",
    load: async () => (await import("./module/module.ts")).moduleRetire,
  },
  "module inspect": {
    about: "Inspect a module's code without running it.",
    load: async () => (await import("./module/propose.ts")).moduleInspect,
  },
  "witness list": {
    about: "List the witnesses.",
    load: async () => (await import("./witness/witness.ts")).witnessList,
  },
  "witness add": {
    about: "Propose to enrol a witness.",
    load: async () => (await import("./witness/witness.ts")).witnessAdd,
  },
  "witness remove": {
    about: "Propose to take a witness out.",
    load: async () => (await import("./witness/witness.ts")).witnessRemove,
  },
  "witness replace": {
    about: "Propose a new key for a witness.",
    load: async () => (await import("./witness/witness.ts")).witnessReplace,
  },
  "witness serve": {
    about: "Cosign checkpoints of logs, over HTTP.",
    load: async () => (await import("./witness/serve.ts")).witnessServe,
  },
  "witness cosign": {
    about: "Sign the newest checkpoint as a witness, and keep it.",
    load: async () => (await import("./witness/cosign.ts")).witnessCosign,
  },
  "project postgres": {
    about: "Fill a PostgreSQL database from the feed, rebuild it, or compare it with the ledger.",
    load: async () => (await import("./project/postgres.ts")).projectPostgres,
  },
  "project mongo": {
    about: "Fill a MongoDB database from the feed, rebuild it, or compare it with the ledger.",
    load: async () => (await import("./project/mongo.ts")).projectMongo,
  },
  "project dynamo": {
    about: "Fill a table of DynamoDB from the feed, rebuild it, or compare it with the ledger.",
    load: async () => (await import("./project/dynamo.ts")).projectDynamo,
  },
  quorum: {
    about: "Show how many witnesses a change takes, or propose another number.",
    load: async () => (await import("./witness/witness.ts")).quorum,
  },
};
