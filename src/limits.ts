/**
 * Every bound of the server in one place, with its unit and its reason. Those of the formats are in core/limits.ts.
 * Pure.
 */
import { linksMax } from "@sigil/core/limits";

/** Globs that a lint tries on a server: a few milliseconds, and enough for a model of two hundred rows. */
export const lintMatchesMax = 20_000;
/** A group shares one sync; 256 amortises it and keeps a waiter's delay in milliseconds. */
export const groupRecordsMax = 256;
export const groupBytesMax = 1 << 20;
/** Records signed before the disk is ready for them: two groups, so that neither waits for the other. */
export const signAheadRecordsMax = 512;
/** Appends waiting for the sequencer; past it callers are told to back off. */
export const appendQueueRecordsMax = 8192;
export const appendQueueBytesMax = 32 << 20;
/** Calls and parts of calls begun in one turn of the event loop: fewer cost more commits than they overlap work. */
export const callsPerTurn = 16;
/** No more begin in a turn that has taken so long: a caller who comes waits for a turn at each step of its call. */
export const pacingTurnMs = 1;
/** The same while only one connection is active: short turns make small commits, and those cost more. */
export const pacingTurnAloneMs = 5;
/** Processor time that a part of a long call takes before others get their turn. */
export const pacingSliceMs = 0.5;
/** What a caller may owe before it waits: calls of a busy caller are shorter. */
export const pacingFreeMs = 0.5;
/** The most that a caller owes: whatever it did, it waits no longer. */
export const pacingDebtMsMax = 500;
/**
 * Others are active who began or ended something so lately: longer than a check and its sync take on a busy machine.
 */
export const pacingActiveMs = 20;
/** Callers whose debts are remembered; they are paid in milliseconds. */
export const pacedCallersMax = 10_000;
/**
 * Calls and items of batches that one caller has under way, two full batches: four such callers fill the sequencer's
 * queue.
 */
export const callsUnderWayPerCallerMax = 2000;
/**
 * The same while others are active: what they ask for waits behind it for its signature and its sync. Enough to keep
 * the disk busy.
 */
export const callsUnderWayBesideOthersMax = 64;
/**
 * The most that each connection may have under way whatever its caller has on others, which may be somebody else's at
 * the same address; it is one where they are many.
 */
export const callsUnderWayOfConnectionMax = 4;
/** Processor time that the transport takes for a call, about: it is spent where it cannot be measured by call. */
export const callOverheadMs = 0.1;
/** The most that committing one record is charged with: what a batch waited for itself, and not for others. */
export const commitRecordMsMax = 0.5;
/** Verified tokens remembered of one principal, so that it does not make those of others be forgotten. */
export const tokensPerPrincipalMax = 512;
/** The anchor trails the ledger by no more than this. */
export const anchorRecordsMax = 1000;
export const anchorDelayMsMax = 1000;
/** Seals under one data key version; far below the bound for random 96-bit nonces. */
export const sealsPerKeyMax = 2 ** 31;
export const idempotencyKeyBytesMax = 128;
export const idempotencyTtlMs = 24 * 60 * 60 * 1000;
export const tokenLifetimeSecondsMax = 600;
export const tokenLeewaySeconds = 30;
export const tokenBytesMax = 4096;
/** Verified tokens remembered until they expire. */
export const tokenCacheEntriesMax = 10_000;
/** A token's own id; a UUID takes 36. */
export const tokenIdBytesMax = 128;
/** Principals remembered until their record changes; as many as tokens, which name them. */
export const principalCacheEntriesMax = 10_000;
/** One PEM file of TLS: a bundle of every public authority takes a quarter of it. */
export const tlsFileBytesMax = 1 << 20;
/** DNS names of one client certificate that are looked up, each in the ledger. */
export const certificateNamesMax = 16;
export const batchItemsMax = 1000;
/** Raw input of one check. */
export const inputBytesMax = 256 << 10;
/**
 * Rate windows in one table; the least recently active leave first. A tenant has two tables, of its principals and of
 * other names, and all anonymous callers together one. Tenants are made by a quorum: nobody else makes tables.
 */
export const rateWindowsMax = 50_000;
/** Recorded decisions one `Simulate` may re-score. */
export const simulateDecisionsMax = 10_000;
export const pageSizeDefault = 50;
export const pageSizeMax = 1000;
/** Envelopes of one page together: a reply repeats each up to five times over, and 4 MiB is what a client takes. */
export const pageEnvelopeBytesMax = 768 << 10;
/** Index entries one listing call may look at before it returns a short page with a token. */
export const listScanEntriesMax = 200_000;
/** Work of one listing call before it answers the page it has: the caller's deadline is never what ends a walk. */
export const listWalkMsMax = 1000;
/** Decisions one listing call opens, for filters that no index answers, before it answers the page it has. */
export const listCandidatesMax = 4000;
/** Decisions in one value of rows: what is read to know where one stands. 24 bytes each. */
export const decisionRowsMax = 256;
/** Decisions of a tenant that become one segment of the index together; as many stay outside of any at most. */
export const decisionSegmentMin = 1024;
/** Segments of one level that are merged into one of the next: a decision is written once a level. */
export const segmentsMerged = 16;
/** Level of the longest segments, 4,194,304 decisions: above it their fences would be longer than what they save. */
export const segmentLevelMax = 3;
/** Postings in one value of a segment: what is read for a term that is rare. */
export const postingsBytesMax = 8 << 10;
/** Terms of one target, one for each beginning; what lies deeper is found by the eighth and decided by the record. */
export const targetTermsMax = 8;
/** Values remembered with their terms, a tenant: actions, principals and targets repeat. */
export const rememberedTermsMax = 8192;
/** Tenants whose newest decisions are held in memory, some 200 kB each; another's are read again, in milliseconds. */
export const decisionTenantsMax = 256;
/** Decisions a walk over the index gives at once, before it lets others go first. */
export const foundSliceMax = 256;
/** Of a merge of segments, written at once. */
export const mergeBatchBytesMax = 256 << 10;
/** Messages a stream may have under way before the server stops reading. */
export const streamInFlightMax = 64;
export const messageBytesMax = 4 << 20;
/** The least that a caller may say it takes: one answer of any kind but a record's or a module's content. */
export const replyBytesMin = 16 << 10;
/** One answer of a batch of checks, or the error in its place: names and numbers, each bounded. */
export const batchAnswerBytesMax = 3072;
/** What a write's answer has beside payload and links: names, hashes, a signature. */
export const writeAnswerBytesMax = 2560;
/** What it has of a link beside its label: a hash and what stands around it. */
export const linkAnswerBytesMax = 48;
export const concurrentStreamsMax = 1000;
export const sessionMemoryMiBMax = 32;
export const headerBytesMax = 16 << 10;
/** Headers of one call, pseudo-headers among them. */
export const headerPairsMax = 64;
/** Messages this long are not counted: as many as one connection has calls take a few megabytes. */
export const intakeFreeBytes = 16 << 10;
/**
 * Longer messages being received, expanded or answered: of one connection, and of all; each takes some three times
 * that.
 */
export const intakeBytesPerConnectionMax = 16 << 20;
export const intakeBytesMax = 64 << 20;
/** Long messages of one connection that wait: more than it may have calls. */
export const intakeWaitersMax = 4096;
/** From the beginning of a long message to its end; a slower sender would keep room that others wait for. */
export const intakeMessageMsMax = 30_000;
/** A whole request over HTTP/1.1, headers and body: past the time of its body, which is answered. */
export const httpRequestMsMax = 40_000;
/**
 * Records opened side by side in a walk: the first few, the most, and the bytes of their envelopes as far as can be
 * foreseen.
 */
export const readAheadFirst = 2;
export const readAheadRecordsMax = 16;
export const readAheadBytesMax = 2 << 20;
/** Newest records that the feed holds while somebody reads it, in bytes of envelopes, and what it hands on at once. */
export const feedTailBytesMax = 4 << 20;
export const feedBatchRecordsMax = 256;
export const feedBatchBytesMax = 1 << 20;
/** Watches woken in one turn of the event loop: others' calls come between. */
export const bellsPerTurn = 8;
/** Positions of one watched tenant that are kept, and records that were just read for a watch, with how long. */
export const newsPositionsMax = 1024;
export const newsRecordsMax = 8;
export const newsRecordMs = 1000;
/**
 * Connections at once, where there are descriptors for them, and where there are hardly any; of one address without a
 * name.
 */
export const connectionsMax = 10_000;
export const connectionsMin = 8;
export const connectionsPerPeerMax = 1000;
/**
 * To the first call of a connection, and between two calls of one that has proved nothing: its descriptor is somebody
 * else's.
 */
export const connectionSilentMsMax = 10_000;
export const connectionIdleMsMax = 300_000;
/** Descriptors kept for the ledger, its anchor, keys and log, and for each sandbox process. */
export const descriptorsKept = 32;
export const descriptorsPerSandbox = 8;
/**
 * Streams under way: of one caller, of one tenant, in all, and those of all that are Root's alone. A watcher needs one.
 */
export const streamsPerCallerMax = 128;
export const streamsPerTenantMax = 512;
export const streamsMax = 2048;
export const streamsForRoot = 64;
/** Uploads of modules: each holds up to `moduleBytesMax` until it has ended. */
export const uploadsPerCallerMax = 2;
export const uploadsPerTenantMax = 3;
export const uploadsMax = 6;
export const uploadsForRoot = 2;
/** Answers being made or not read yet: of one caller, and of all; each takes some three times that while it is made. */
export const replyBytesPerCallerMax = 16 << 20;
export const replyBytesMax = 64 << 20;
/** Calls of one caller that wait for room. */
export const replyWaitersMax = 1000;
/** How long an answer may stay unread when others wait for its room, and how often somebody looks. */
export const replyUnreadMsMax = 10_000;
export const replyWatchMs = 1000;
export const deadlineMsDefault = 10_000;
export const deadlineMsMax = 60_000;
/** An evaluator that has not answered by then has failed, and a failure is a deny. */
export const evaluatorMsMax = 1000;
/** Records at the end of the ledger that a start looks at; the rest is `fsck`'s work. */
export const startCheckRecordsMax = 2048;
/** Problems an inspection lists; past it they are only counted. */
export const findingsMax = 1000;
/** Signatures an inspection verifies beside each other; enough to keep every thread busy. */
export const signaturesUnderWayMax = 512;
/** The same of an inspection beside serving: they line up for the threads that everybody's reads and writes take. */
export const liveSignaturesUnderWayMax = 8;
/**
 * What an inspection beside serving works before it rests, and so what a check waits for it at most; the rest is as
 * long as the work.
 */
export const liveWorkMsMax = 1;
/** Between two messages about how far it is. */
export const liveProgressMs = 1000;
/** What names one to whoever calls again, a UUID. */
export const inspectionIdBytes = 36;
/** How long an inspection goes on, and keeps its report, while nobody listens: time to sign a token and call again. */
export const liveUnheardMsMax = 30_000;
/** Versions of one id that a listing reads one after the other before it seeks; a seek costs about as much. */
export const versionsReadMax = 64;
/** Index entries an inspection or a rebuild reads or writes at once. */
export const projectionOpsMax = 1000;
/**
 * Ids whose newest version an inspection or a rebuild holds, some 300 bytes each; of one that it has forgotten it reads
 * two or three entries.
 */
export const replayedIdsMax = 20_000;
/**
 * Of a database's files in memory while all of it is walked over: an inspection stays below 400 MB resident, whatever
 * the size.
 */
export const walkedBytesMax = 48 << 20;
/** Unwrapped data keys held; opening a tenant's key again costs one small file. */
export const dataKeysHeldMax = 4096;
/** Sessions with one token, so calls to it under way: of the four threads that calls and files share, two are left. */
export const tokenSessionsMax = 2;
/** Objects of one kind looked at on a token: more than one deployment makes in a century. */
export const tokenObjectsMax = 1000;
/** A key file of ours is under one kilobyte; more is some other file. */
export const keyFileBytesMax = 16 << 10;
/** Times held by all rate windows of a table, 8 bytes each; more than one name can need at `rateLimitMax`. */
export const rateWindowTimesMax = 2_000_000;
/**
 * Index entries that a start reads to fill the rate windows again, in all; about a second's worth. Each tenant has an
 * equal share, and gets the newest of its own.
 */
export const rateRefillEntriesMax = 1_000_000;
/**
 * Entries in a row that are older than the window before a start looks no further. A batch's decisions are of one
 * moment and may be committed after younger ones: more than one batch holds.
 */
export const rateRefillOlderMax = 1024;
/** Steps of one reasoning chain; a check takes about ten. */
export const reasoningStepsMax = 64;
export const reasoningStepNameBytesMax = 64;
/** Detail of one step; a longer one is a programming error, not a longer story. */
export const reasoningStepDetailBytesMax = 2048;
/** The operator's port serves a scraper, a probe and a person or two; fewer where there are few descriptors. */
export const operatorConnectionsMax = 64;
export const operatorConnectionsMin = 8;
/** Of one address, which a probe and a scraper may share. */
export const operatorConnectionsPerPeerMax = 32;
/** To the first request of a connection, whose headers may not take longer either. */
export const operatorSilentMsMax = 2000;
export const operatorHeaderBytesMax = 8 << 10;
export const operatorRequestMsMax = 10_000;
/** Log lines that wait for a destination that takes none; past it they are lost, and counted. */
export const logQueueBytesMax = 1 << 20;
/** Lines of one reason in the log at once, and from then on: enough to see what happens, too few to fill a disk. */
export const logLinesBurst = 20;
export const logLinesPerSecond = 1;
/** Reasons with a pace of their own; this program has fewer. */
export const logReasonsMax = 256;
/** How long an end waits for the last lines. */
export const logFlushMs = 1000;
/** Message of one error in the log; what is longer is somebody's data. */
export const logMessageCharactersMax = 300;
/** JSON text of one canonical value: room for escapes and white space around `cborBytesMax`. */
export const jsonCharactersMax = 2 << 20;
/** A JSON pointer in an error: enough to find the place, and no way to send a payload back through its keys. */
export const pointerCharactersMax = 200;
/** A JSON Schema as JSON text; compiling one this long can take seconds, which is why a thread of its own does it. */
export const jsonSchemaCharactersMax = 32 << 10;
/**
 * Processor time to compile a schema or to hold a payload to one: twice what the worst schema of some use was seen to
 * take.
 */
export const jsonSchemaCpuMsMax = 5000;
/** Requests of one tenant that wait for a schema thread; each holds a schema and a payload. */
export const jsonSchemaWaitingMax = 32;
/** Heap of a schema thread; compiling the longest schema takes less than half of it. */
export const jsonSchemaHeapMibMax = 256;
/** What is wrong with a schema or with a payload under it; it may quote the schema. */
export const jsonSchemaRuleCharactersMax = 300;
/** Compiled schemas remembered until their record changes. */
export const jsonSchemaCacheEntriesMax = 256;
/** Records of one atomic batch of writes. */
export const batchWritesMax = 100;
/** Links a caller gives; the server adds one. */
export const writeLinksMax = linksMax - 1;
/** Tries of a write that new schemas keep overtaking. */
export const writeTriesMax = 16;
/** Records one listing call opens before it returns a short page with a token: about half a second's work. */
export const listOpenedRecordsMax = 4000;
/** Entries of each list in a watch's request. */
export const watchListMax = 64;
/** Positions a watch looks up at once while it catches up. */
export const watchPositionsMax = 1000;
export const heartbeatMsDefault = 15_000;
export const heartbeatMsMax = 300_000;
/** Paths of a payload mask. */
export const payloadMaskPathsMax = 32;
export const payloadMaskPathBytesMax = 255;
/** Why something is proposed or withdrawn: a note for people. */
export const proposalReasonBytesMax = 1024;
/** Why somebody was suspended: as long a note. */
export const suspensionReasonBytesMax = 1024;
export const proposalLifetimeMsDefault = 7 * 24 * 60 * 60 * 1000;
/** Also how far back the open proposals are looked for at a start. */
export const proposalLifetimeMsMax = 30 * 24 * 60 * 60 * 1000;
/** Proposals open at once; each commit may end many of them, in its own batch. */
export const openProposalsMax = 256;
export const openProposalsPerCallerMax = 64;
export const openProposalsPerTenantMax = 128;
/** Of all of them: so that whoever fills the others can be revoked. */
export const openProposalsForRoot = 32;
/** Bodies of one proposal: a reply has each several times over, beside the version it replaces. */
export const proposalBodyBytesMax = 256 << 10;
/** A COSE_Sign1 over an attestation takes about 400 bytes. */
export const attestationBytesMax = 4096;
/** Owner and authority of a witness: names, not stories. */
export const witnessNameBytesMax = 255;
export const witnessDescriptionBytesMax = 1024;
/** JSON text of a payload in a reply: past it the canonical bytes alone are sent, so that the reply passes. */
export const replyJsonCharactersMax = 3 << 19;
/** One message of a backup: large enough to be fast, small enough to wait for a slow reader. */
export const backupChunkBytesMax = 512 << 10;
/** An entry's key, or a file's path. */
export const backupKeyBytesMax = 1024;
/** The largest entry is the code of a module. */
export const backupValueBytesMax = 16 << 20;
/** A segment of a backup ends at the first checkpoint past this many bytes: what a killed backup repeats at most. */
export const backupSegmentBytesMax = 64 << 20;
/** A module's bytes; what is larger carries data that belongs elsewhere. */
export const moduleBytesMax = 16 << 20;
/** Imports and exports of a module: WASI has 46 functions, a command module exports two or three things. */
export const moduleImportsMax = 1024;
export const moduleExportsMax = 1024;
/** A name in a module; mangled ones are long. */
export const moduleNameBytesMax = 1024;
export const moduleTypesMax = 65_536;
/** Parameters, or results, of one signature; twice what compilers emit. */
export const moduleSignatureTypesMax = 128;
export const moduleFunctionsMax = 250_000;
/** Locals that one function of proposed code declares: what engines take. */
export const moduleLocalsPerFunctionMax = 50_000;
/**
 * Locals of all functions of proposed code: a few bytes declare billions, an engine lays each out. 16 MiB of code
 * cannot use more.
 */
export const moduleLocalsMax = 4 << 20;
/** One function of proposed code: compilers emit some tens of KiB, tables written as code some hundreds. */
export const moduleFunctionBytesMax = 4 << 20;
/** Memories of a module, and tables; each takes its own reservation of address space while it runs. */
export const moduleMemoriesMax = 64;
/** Globals, or data segments. */
export const moduleItemsMax = 250_000;
/** What one host call of a running module may get. */
export const hostAnswerBytesMax = 1 << 20;
/** The end of a run's log that is kept with its outcome. */
export const runLogTailBytesMax = 8 << 10;
/** CPU time to read and compile a module; the slowest that passes takes about a second. */
export const moduleCompileCpuMsMax = 5000;
/** The same on the clock, of a busy machine: a process that is silent for longer is stuck. */
export const moduleLoadMsMax = 120_000;
/** Proposals whose code is inspected or waits for it: of one tenant, and of all. One at a time is inspected. */
export const moduleInspectionsPerTenantMax = 4;
export const moduleInspectionsMax = 64;
/** Compiled modules that one sandbox process holds, and the bytes they were compiled from. */
export const modulesHeldMax = 64;
export const moduleBytesHeldMax = 64 << 20;
/** Runs after which a sandbox process is replaced, and CPU time: whatever an engine leaks, it leaks no further. */
export const runsPerProcessMax = 10_000;
export const processCpuMsMax = 60_000;
/**
 * The longest that any run may take; a process's CPU time is bounded by what it may use before and during its last run.
 */
export const runMsMax = 60_000;
/** A module's name is a word in commands and file names. */
export const moduleTitleBytesMax = 128;
/** What a manifest may ask for; there are four things to ask for. */
export const moduleCapabilitiesMax = 16;
/** Files of code kept, in force or not; past it somebody must clear up. */
export const moduleFilesMax = 1024;
/** Modules whose records are remembered until they change. */
export const moduleCacheEntriesMax = 1024;
/** What a configuration allows one run unless it says otherwise; `runMsMax` bounds its time in any case. */
export const moduleMemoryPagesMax = 1024;
/** A reply has it as bytes and as JSON, and 4 MiB is what a client takes. */
export const moduleOutputBytesMax = 1 << 20;
export const moduleLogBytesMax = 64 << 10;
export const moduleInputBytesMax = 1 << 20;
export const moduleHostCallsMax = 1000;
/** Runs under way at once, waiting for a sandbox or in one: in all, and of one tenant. */
export const moduleRunsMax = 64;
export const moduleRunsPerTenantMax = 32;
/** Sandbox processes: one core fewer than small machines have, so that a module that computes leaves the server one. */
export const modulePoolProcesses = 1;
/** Messages of lanes that are ahead, waiting for one of another lane: an envelope each, at worst a few hundred MiB. */
export const projectionReorderMax = 4096;
/**
 * Verified and not stored yet: one transaction. Room for the throughput of COPY, and little to do again after a crash.
 */
export const projectionBatchRecordsMax = 4096;
export const projectionBatchBytesMax = 16 << 20;
/** Of one statement of a projection, and until a database answers. */
export const projectionStatementMs = 60_000;
/** Of making an index or erasing a tenant: over all rows of a projection. */
export const projectionMaintenanceMs = 6 * 3_600_000;
/** Until a consumer that was killed is noticed and its lock let go. */
export const projectionLockMs = 10_000;
