/** All limits of the server, with units and reasons. Those of the formats are in core/limits.ts. Pure. */
import { linksMax } from "@sigil/core/limits";

/** Glob matches of a lint on a server: a few milliseconds, enough for a model of two hundred rows. */
export const lintMatchesMax = 20_000;
/** Records that share one sync: 256 amortises it and keeps the added latency in milliseconds. */
export const groupRecordsMax = 256;
export const groupBytesMax = 1 << 20;
/** Records signed ahead of the disk: two batches, so that signing and disk overlap. */
export const signAheadRecordsMax = 512;
/** So many waiting at most are signed on the event loop, 25 µs each: waking the signing thread costs more than two. */
export const signNowRecordsMax = 4;
/** Appends waiting for the sequencer; further callers are told to back off. */
export const appendQueueRecordsMax = 8192;
export const appendQueueBytesMax = 32 << 20;
/**
 * Calls and parts of calls started per turn of the event loop: with fewer, smaller commits cost more than the overlap
 * saves.
 */
export const callsPerTurn = 16;
/** No more start in a turn that has taken this long, since a new call waits for a turn at each of its steps. */
export const pacingTurnMs = 1;
/** The same while only one connection is active: longer turns make larger, cheaper commits. */
export const pacingTurnAloneMs = 5;
/** Processor time slice of a long call before it yields. */
export const pacingSliceMs = 0.5;
/** Processor time that a caller may owe before it is delayed: more than a typical call. */
export const pacingFreeMs = 0.5;
/** Maximum debt of processor time, and thus maximum delay, of a caller. */
export const pacingDebtMsMax = 500;
/**
 * A caller counts as active for this long after it began or ended something: longer than a check and its sync take on a
 * busy machine.
 */
export const pacingActiveMs = 20;
/** Callers with tracked debt, which decays within milliseconds. */
export const pacedCallersMax = 10_000;
/** Concurrent calls and batch items of one caller: two full batches; four such callers fill the sequencer's queue. */
export const callsUnderWayPerCallerMax = 2000;
/**
 * The same while other callers are active, whose records queue behind it for signing and sync. Enough to keep the disk
 * busy.
 */
export const callsUnderWayBesideOthersMax = 64;
/**
 * Concurrent calls guaranteed to each connection, regardless of the same caller's others (which may belong to another
 * client at the same address); reduced to one if there are many connections.
 */
export const callsUnderWayOfConnectionMax = 4;
/** Estimated processor time of the transport per call, which cannot be measured per call. */
export const callOverheadMs = 0.1;
/**
 * Estimated processor time to decompress a request and to collect it as garbage, which happens in other threads and in
 * other callers' turns: 4 MB of text are a quarter of a full collection.
 */
export const collectionMsPerByte = 20 / (1 << 20);
/** Maximum charge for committing one record: a batch's own cost, not time spent waiting for others. */
export const commitRecordMsMax = 0.5;
/** Cached verified tokens per principal, so that one principal cannot evict those of others. */
export const tokensPerPrincipalMax = 512;
/** Size at which a server stops its young generation from growing; noticed late, it may have doubled once more. */
export const youngGenerationBytes = 32 << 20;
/** The same of a process that scans a whole ledger and does nothing else. */
export const scanYoungBytes = 8 << 20;
/** Maximum lag of the anchor behind the ledger. */
export const anchorRecordsMax = 1000;
export const anchorDelayMsMax = 1000;
/** Seals under one data key version; far below the bound for random 96-bit nonces. */
export const sealsPerKeyMax = 2 ** 31;
export const idempotencyKeyBytesMax = 128;
export const idempotencyTtlMs = 24 * 60 * 60 * 1000;
export const tokenLifetimeSecondsMax = 600;
export const tokenLeewaySeconds = 30;
export const tokenBytesMax = 4096;
/** Cached verified tokens, until they expire. */
export const tokenCacheEntriesMax = 10_000;
/** A token's own id; a UUID takes 36. */
export const tokenIdBytesMax = 128;
/** Cached principals, until their record changes; as many as tokens. */
export const principalCacheEntriesMax = 10_000;
/** Size of a PEM file of TLS: a bundle of all public CAs takes a quarter of it. */
export const tlsFileBytesMax = 1 << 20;
/** DNS names of a client certificate, each of which is looked up in the ledger. */
export const certificateNamesMax = 16;
export const batchItemsMax = 1000;
/** Raw input of one check, in bytes. */
export const inputBytesMax = 256 << 10;
/**
 * Rate windows per table, evicted in LRU order. A tenant has two tables, for its principals and for other names; all
 * anonymous callers share one. Only a quorum creates tenants, so callers cannot create tables.
 */
export const rateWindowsMax = 50_000;
/** Recorded decisions that one `Simulate` may re-score. */
export const simulateDecisionsMax = 10_000;
export const pageSizeDefault = 50;
export const pageSizeMax = 1000;
/** Total envelope bytes of one page: a reply repeats each up to five times, and clients accept 4 MiB. */
export const pageEnvelopeBytesMax = 768 << 10;
/** Index entries that one listing call examines before it returns a short page with a token. */
export const listScanEntriesMax = 200_000;
/** Time of one listing call before it returns a short page, so that walks do not end by the caller's deadline. */
export const listWalkMsMax = 1000;
/** Decisions that one listing call opens, for filters without an index, before it returns a short page. */
export const listCandidatesMax = 4000;
/** Decisions per rows value, 24 bytes each: the unit read to find a position. */
export const decisionRowsMax = 256;
/** Decisions per level 0 segment of the index; also the maximum outside any segment. */
export const decisionSegmentMin = 1024;
/** Segments of one level merged into one of the next: each decision is written once per level. */
export const segmentsMerged = 16;
/** Level of the longest segments, 4,194,304 decisions: beyond it fences would cost more than they save. */
export const segmentLevelMax = 3;
/** Bytes of one postings value of a segment: the unit read for a rare term. */
export const postingsBytesMax = 8 << 10;
/** Terms per target, one per prefix; deeper prefixes use the eighth and are filtered on the record. */
export const targetTermsMax = 8;
/** Cached terms per tenant: actions, principals and targets repeat. */
export const rememberedTermsMax = 8192;
/** Callers whose decisions are numbered without looking for the newest one. */
export const callersCountedMax = 65_536;
/** Tenants whose newest decisions are cached, about 200 kB each; others are reread in milliseconds. */
export const decisionTenantsMax = 256;
/** Decisions per slice of an index walk, before it yields. */
export const foundSliceMax = 256;
/** Bytes per batch of a segment merge. */
export const mergeBatchBytesMax = 256 << 10;
/** Messages of a stream in progress before the server stops reading (backpressure). */
export const streamInFlightMax = 64;
export const messageBytesMax = 4 << 20;
/** Minimum of a caller's reply limit: fits one answer of any kind except a record's or a module's content. */
export const replyBytesMin = 16 << 10;
/** Longest evidence file in an answer that says what was recorded; longer ones are asked for on their own. */
export const answerEvidenceBytesMax = 256 << 10;
/** Maximum size of one answer of a batch of checks, or of its error. */
export const batchAnswerBytesMax = 3072;
/** Bytes of a write's answer besides payload and links: names, hashes, a signature. */
export const writeAnswerBytesMax = 2560;
/** Bytes of an inclusion proof in an answer: a path of 64 hashes and a checkpoint. */
export const inclusionAnswerBytesMax = 4096;
/** Bytes of a link in it besides the label: a hash and framing. */
export const linkAnswerBytesMax = 48;
export const concurrentStreamsMax = 1000;
export const sessionMemoryMiBMax = 32;
export const headerBytesMax = 16 << 10;
/** Headers of one call, including pseudo-headers. */
export const headerPairsMax = 64;
/** Messages up to this size are not counted: one per call of a connection takes a few megabytes. */
export const intakeFreeBytes = 16 << 10;
/**
 * Bytes of longer messages being received, decompressed or answered, per connection and in total; actual memory is
 * about three times that.
 */
export const intakeBytesPerConnectionMax = 16 << 20;
export const intakeBytesMax = 64 << 20;
/** Long messages decompressed at once, one per connection; each takes one of the thread pool's four threads. */
export const expansionsMax = 2;
/** Waiting long messages per connection: more than its maximum of calls. */
export const intakeWaitersMax = 4096;
/** Time to receive a long message; slower senders would block budget that others wait for. */
export const intakeMessageMsMax = 30_000;
/** Time for a whole HTTP/1.1 request, headers and body; longer than the body's own timeout, which is answered. */
export const httpRequestMsMax = 40_000;
/** Records opened concurrently in a walk: initial number, maximum, and estimated maximum of envelope bytes. */
export const readAheadFirst = 2;
export const readAheadRecordsMax = 16;
export const readAheadBytesMax = 2 << 20;
/** Newest records that the feed caches while it has readers, in envelope bytes; and the size of its batches. */
export const feedTailBytesMax = 4 << 20;
export const feedBatchRecordsMax = 256;
export const feedBatchBytesMax = 1 << 20;
/** Watches woken per turn of the event loop, so that other calls run in between. */
export const bellsPerTurn = 8;
/** Cached positions per watched tenant; cached records recently read for a watch, and for how long. */
export const newsPositionsMax = 1024;
export const newsRecordsMax = 8;
export const newsRecordMs = 1000;
/**
 * Concurrent connections, if there are enough file descriptors, and the minimum otherwise; and unauthenticated ones per
 * address.
 */
export const connectionsMax = 10_000;
export const connectionsMin = 8;
export const connectionsPerPeerMax = 1000;
/**
 * Timeouts to the first call of a connection, and between calls of an unauthenticated one, to free file descriptors.
 */
export const connectionSilentMsMax = 10_000;
export const connectionIdleMsMax = 300_000;
/** File descriptors reserved: for the ledger, its anchor, keys and log; per sandbox process; per relay but webhooks. */
export const descriptorsKept = 32;
export const descriptorsPerSandbox = 8;
export const descriptorsPerRelay = 4;
/**
 * Concurrent streams: per caller, per tenant, in total, and of the total those reserved for Root. A watcher needs one.
 */
export const streamsPerCallerMax = 128;
export const streamsPerTenantMax = 512;
export const streamsMax = 2048;
export const streamsForRoot = 64;
/** Concurrent uploads of modules: each holds up to `moduleBytesMax`. */
export const uploadsPerCallerMax = 2;
export const uploadsPerTenantMax = 3;
export const uploadsMax = 6;
export const uploadsForRoot = 2;
/** Bytes of replies in progress or unread, per caller and in total; actual memory is about three times that. */
export const replyBytesPerCallerMax = 16 << 20;
export const replyBytesMax = 64 << 20;
/** Calls of one caller that wait for reply budget. */
export const replyWaitersMax = 1000;
/** How long a reply may stay unread while others wait for budget, and how often that is checked. */
export const replyUnreadMsMax = 10_000;
export const replyWatchMs = 1000;
export const deadlineMsDefault = 10_000;
export const deadlineMsMax = 60_000;
/** Timeout of the evaluator; a timeout is a deny. */
export const evaluatorMsMax = 1000;
/** Newest records checked at start; `fsck` checks the rest. */
export const startCheckRecordsMax = 2048;
/** Problems listed by an inspection; further ones are only counted. */
export const findingsMax = 1000;
/** Signatures that an inspection verifies concurrently; enough to keep every thread busy. */
export const signaturesUnderWayMax = 512;
/** The same for a live inspection, which shares its threads with served reads and writes. */
export const liveSignaturesUnderWayMax = 8;
/** Work of a live inspection between pauses, and so the maximum delay of a check; each pause is as long as the work. */
export const liveWorkMsMax = 1;
/** Interval of progress messages. */
export const liveProgressMs = 1000;
/** Length of an inspection's id, a UUID. */
export const inspectionIdBytes = 36;
/** How long an inspection continues, and keeps its report, without a listener: time to sign a token and reattach. */
export const liveUnheardMsMax = 30_000;
/** Versions of one id that a listing scans before it seeks, which costs about as much. */
export const versionsReadMax = 64;
/**
 * Threads that read records for an inspection or a rebuild: past these the walk itself is the bottleneck. Of a ledger
 * shorter than this the walk reads every record itself, since a thread takes as long to start as a thousand records.
 */
export const readingThreadsMax = 4;
export const readingThreadsFrom = 5000n;
/** A batch of records for a thread, and batches a thread that are read ahead. */
export const readingBatchRecords = 256;
export const readingBatchBytes = 512 << 10;
export const readingBatchesMax = 3;
/** Data keys that a thread holds. */
export const readingKeysMax = 1024;
/** Heap of such a thread: it keeps nothing but keys, and garbage of a batch. */
export const readingHeapMib = { old: 64, young: 16 } as const;
/** Threads that verify foreign signatures, a millisecond or two each; started once so many have been asked for. */
export const foreignThreadsMax = 16;
export const foreignThreadsFrom = 256;
export const foreignHeapMib = { old: 64, young: 8 } as const;
/** Index entries that an inspection or a rebuild reads or writes per batch. */
export const projectionOpsMax = 1000;
/**
 * Ids whose newest version an inspection or a rebuild caches, about 300 bytes each; a miss reads two or three entries.
 */
export const replayedIdsMax = 20_000;
/**
 * Resident bytes of database files during a full scan, so that an inspection stays below 400 MB for any ledger size.
 */
export const walkedBytesMax = 48 << 20;
/** Cached unwrapped data keys; a miss reads one small file. */
export const dataKeysHeldMax = 4096;
/** Sessions per token, hence concurrent calls to it: leaves two of the four threads shared with file I/O. */
export const tokenSessionsMax = 2;
/** Objects of one class read from a token: more than a deployment ever creates. */
export const tokenObjectsMax = 1000;
/** Size of a key file: ours are under one kilobyte, a larger one is some other file. */
export const keyFileBytesMax = 16 << 10;
/** Timestamps of all rate windows of a table, 8 bytes each; more than one name needs at `rateLimitMax`. */
export const rateWindowTimesMax = 2_000_000;
/**
 * Index entries read at start to refill rate windows, in total: about one second. Each tenant has an equal share,
 * newest first.
 */
export const rateRefillEntriesMax = 1_000_000;
/**
 * Consecutive entries older than the window after which a start stops reading. A batch's decisions have one timestamp
 * and may be committed after newer ones, so this exceeds one batch.
 */
export const rateRefillOlderMax = 1024;
/** Connections of the operator's port: a scraper, a probe and a few people; fewer with few file descriptors. */
export const operatorConnectionsMax = 64;
export const operatorConnectionsMin = 8;
/** The same per address, which a probe and a scraper may share. */
export const operatorConnectionsPerPeerMax = 32;
/** Timeout to the first request of a connection, and of its headers. */
export const operatorSilentMsMax = 2000;
export const operatorHeaderBytesMax = 8 << 10;
export const operatorRequestMsMax = 10_000;
/** Bytes of log lines queued for a stalled destination; further lines are dropped and counted. */
export const logQueueBytesMax = 1 << 20;
/** Burst and rate of log lines per reason: enough to see what happens, too few to fill a disk. */
export const logLinesBurst = 20;
export const logLinesPerSecond = 1;
/** Reasons with a separate rate limit; this program has fewer. */
export const logReasonsMax = 256;
/** How long an exit waits for the last log lines. */
export const logFlushMs = 1000;
/** Characters of an error message in the log; longer ones contain user data. */
export const logMessageCharactersMax = 300;
/** JSON text of one canonical value: `cborBytesMax` plus escapes and white space. */
export const jsonCharactersMax = 2 << 20;
/** A JSON pointer in an error: enough to find the place, too short to echo a payload through its keys. */
export const pointerCharactersMax = 200;
/** A JSON Schema as JSON text; compiling one of this length can take seconds and runs in a worker thread. */
export const jsonSchemaCharactersMax = 32 << 10;
/** Processor time to compile a schema or validate a payload: twice that of the worst useful schema seen. */
export const jsonSchemaCpuMsMax = 5000;
/** Waiting requests per tenant for a schema thread; each holds a schema and a payload. */
export const jsonSchemaWaitingMax = 32;
/** Heap of a schema thread; compiling the longest schema takes less than half of it. */
export const jsonSchemaHeapMibMax = 256;
export const jsonSchemaYoungHeapMibMax = 16;
/** Error text about a schema or a payload; it may quote the schema. */
export const jsonSchemaRuleCharactersMax = 300;
/** Cached compiled schemas, until their record changes. */
export const jsonSchemaCacheEntriesMax = 256;
/** Records of one atomic batch of writes. */
export const batchWritesMax = 100;
/** Links given by a caller; the server adds one. */
export const writeLinksMax = linksMax - 1;
/** Attempts of a write that schema changes keep overtaking. */
export const writeTriesMax = 16;
/** Records that one listing call opens before it returns a short page with a token: about half a second. */
export const listOpenedRecordsMax = 4000;
/** Entries of each list in a watch's request. */
export const watchListMax = 64;
/** Positions that a watch reads per batch while it catches up. */
export const watchPositionsMax = 1000;
export const heartbeatMsDefault = 15_000;
export const heartbeatMsMax = 300_000;
/** Paths of a payload mask. */
export const payloadMaskPathsMax = 32;
export const payloadMaskPathBytesMax = 255;
/** Reason of a proposal or withdrawal. */
export const proposalReasonBytesMax = 1024;
/** Reason of a suspension. */
export const suspensionReasonBytesMax = 1024;
export const proposalLifetimeMsDefault = 7 * 24 * 60 * 60 * 1000;
/** Also how far back a start searches for open proposals. */
export const proposalLifetimeMsMax = 30 * 24 * 60 * 60 * 1000;
/** Open proposals; each commit may end many of them in its batch. */
export const openProposalsMax = 256;
export const openProposalsPerCallerMax = 64;
export const openProposalsPerTenantMax = 128;
/** Of these reserved for Root, so that a principal that exhausts the others can be revoked. */
export const openProposalsForRoot = 32;
/** Bodies of one proposal: a reply repeats each several times, besides the version it replaces. */
export const proposalBodyBytesMax = 256 << 10;
/** A COSE_Sign1 over an attestation takes about 400 bytes. */
export const attestationBytesMax = 4096;
/** Owner and authority of a witness, each a name. */
export const witnessNameBytesMax = 255;
export const witnessDescriptionBytesMax = 1024;
/** JSON text of a payload in a reply; longer ones are omitted and only the canonical bytes are sent. */
export const replyJsonCharactersMax = 3 << 19;
/** One message of a backup: large enough to be fast, small enough to buffer for a slow reader. */
export const backupChunkBytesMax = 512 << 10;
/** An entry's key, or a file's path, in bytes. */
export const backupKeyBytesMax = 1024;
/** The largest entry is the code of a module. */
export const backupValueBytesMax = 16 << 20;
/**
 * A segment of a backup ends at the first checkpoint past this many bytes: the most that an interrupted backup repeats.
 */
export const backupSegmentBytesMax = 64 << 20;
/** A module's bytes; larger ones carry data that belongs elsewhere. */
export const moduleBytesMax = 16 << 20;
/** Imports and exports of a module: WASI has 46 functions, a command module exports two or three things. */
export const moduleImportsMax = 1024;
export const moduleExportsMax = 1024;
/** A name in a module; mangled names are long. */
export const moduleNameBytesMax = 1024;
export const moduleTypesMax = 65_536;
/** Parameters, or results, of one signature; twice what compilers emit. */
export const moduleSignatureTypesMax = 128;
export const moduleFunctionsMax = 250_000;
/** Locals of one function of proposed code: the engines' limit. */
export const moduleLocalsPerFunctionMax = 50_000;
/**
 * Locals of all functions of proposed code: a few bytes can declare billions, for which an engine allocates. 16 MiB of
 * code cannot use more.
 */
export const moduleLocalsMax = 4 << 20;
/** One function of proposed code: compilers emit tens of KiB, tables compiled to code hundreds. */
export const moduleFunctionBytesMax = 4 << 20;
/** Memories of a module, and tables; each reserves address space while it runs. */
export const moduleMemoriesMax = 64;
/** Globals, or data segments. */
export const moduleItemsMax = 250_000;
/** Bytes that one host call of a running module may return. */
export const hostAnswerBytesMax = 1 << 20;
/** Tail of a run's log that is kept with its outcome. */
export const runLogTailBytesMax = 8 << 10;
/** CPU time to parse and compile a module; the slowest accepted one takes about a second. */
export const moduleCompileCpuMsMax = 5000;
/** The same in wall time, on a busy machine: a process that takes longer is stuck. */
export const moduleLoadMsMax = 120_000;
/** Proposals whose code is being inspected or waits for it, per tenant and in total. One at a time is inspected. */
export const moduleInspectionsPerTenantMax = 4;
export const moduleInspectionsMax = 64;
/** Compiled modules per sandbox process, and the bytes they were compiled from. */
export const modulesHeldMax = 64;
export const moduleBytesHeldMax = 64 << 20;
/** Runs, and CPU time, after which a sandbox process is replaced, to bound engine leaks. */
export const runsPerProcessMax = 10_000;
export const processCpuMsMax = 60_000;
/** Maximum wall time of a run; a process's CPU time is limited to what it may use before and during its last run. */
export const runMsMax = 60_000;
/** A module's name, which is used in commands and file names. */
export const moduleTitleBytesMax = 128;
/** Capabilities of a manifest; four kinds exist. */
export const moduleCapabilitiesMax = 16;
/** Stored code files, active or not; beyond this an operator must clean up. */
export const moduleFilesMax = 1024;
/** Cached modules, until their records change. */
export const moduleCacheEntriesMax = 1024;
/** Default limits of a run in the configuration; `runMsMax` always limits its time. */
export const moduleMemoryPagesMax = 1024;
/** A reply has it as bytes and as JSON, and clients accept 4 MiB. */
export const moduleOutputBytesMax = 1 << 20;
export const moduleLogBytesMax = 64 << 10;
export const moduleInputBytesMax = 1 << 20;
export const moduleHostCallsMax = 1000;
/** Concurrent runs, waiting for a sandbox or in one: in total, and per tenant. */
export const moduleRunsMax = 64;
export const moduleRunsPerTenantMax = 32;
/** Sandbox processes: one fewer than the cores of a small machine, to leave one for the server. */
export const modulePoolProcesses = 1;
/** Messages of lanes that are ahead, waiting for one of another lane: an envelope each, at worst a few hundred MiB. */
export const projectionReorderMax = 4096;
/**
 * Verified and not stored yet: one transaction. Room for the throughput of COPY, and little to do again after a crash.
 */
export const projectionBatchRecordsMax = 4096;
export const projectionBatchBytesMax = 16 << 20;
/** Of a relay's files: an envelope of 1 MiB in base64, and attributes. */
export const projectionLineBytesMax = 4 << 20;
/** Of one statement of a projection, and until a database answers. */
export const projectionStatementMs = 60_000;
/** Until a database that was spoken to and says nothing is given up: longer than any statement may take. */
export const projectionSilentMs = 75_000;
/** Until a server of a projection's database is found and takes a connection. */
export const projectionConnectMs = 10_000;
/** Of making an index or erasing a tenant: over all rows of a projection. */
export const projectionMaintenanceMs = 6 * 3_600_000;
/** Until a consumer that was killed is noticed and its lock let go. */
export const projectionLockMs = 10_000;
/** Where a database has no lock that ends with its connection: so long after a kill another consumer may begin. */
export const projectionLeaseMs = 5000;
/** Of one request to DynamoDB, whose answers take milliseconds; the SDK asks three times. */
export const dynamoRequestMs = 10_000;
/** Of one transaction: 4 MB and 100 items are its most, one of which is the cursor. */
export const dynamoTransactionWritesMax = 99;
export const dynamoTransactionBytesMax = 3 << 20;
/** Buckets of 128 places that are read at once: an answer has 1 MB. */
export const dynamoReadsMax = 8;
/** Backoff where DynamoDB throttles, with full jitter, and how long it is put up with. */
export const dynamoBackoffMsMin = 50;
export const dynamoBackoffMsMax = 5000;
export const dynamoThrottledMsMax = 300_000;
/** Ids whose newest versions a comparison holds at once: as many more are another scan of the table. */
export const dynamoHeadsMax = 200_000;
/** Backoff of a relay, exponential with jitter. */
export const relayBackoffMsMin = 200;
export const relayBackoffMsMax = 60_000;
/** First backoff after a failure that an operator must resolve. */
export const relayRefusedMsMin = 5000;
/** Debounce of a relay's cursor file: each write syncs the disk that the ledger syncs. */
export const relayCursorMsMax = 1000;
/** Wait of a closing relay for the batch in flight. */
export const relayStopMsMax = 5000;
/** Hashes of published records, some 150 bytes each, for links of records that are written again soon. */
export const relayPredecessorsMax = 16_384;
/** Between two looks at how far a relay's new generation is, before older ones are erased. */
export const relayErasureMsMax = 200;
/** Relays of one server; each reads the feed. */
export const relaysMax = 16;
/** Longest line of a relay's file, a full record as JSON; and the block size for reading backwards. */
export const relayLineBytesMax = 16 << 20;
export const relayReadBytes = 64 << 10;
/** Timeouts of a relay for connecting and for acknowledgements. */
export const relayConnectMsMax = 5000;
export const relayPublishMsMax = 10_000;
/** Messages of one atomic batch of NATS, which takes 1000. */
export const relayNatsBatchEventsMax = 256;
/** Entries of one request of SQS; a message, of servers that do not say and at most; a request, of any of them. */
export const sqsBatchEventsMax = 10;
export const sqsMessageBytesMin = 256 << 10;
export const sqsMessageBytesMax = 1 << 20;
export const sqsBatchBytesMin = 256 << 10;
/** Of a consumer: seconds of a poll; messages in flight at full speed; tries of a message that came too early. */
export const sqsPollSeconds = 2;
export const sqsHeldMax = 1024;
export const sqsEarlyTriesMax = 5;
/** A message in flight is extended three times in this; for each one beside it there is so much more time. */
export const sqsVisibilityMsMin = 3000;
export const sqsExtensionMs = 20;
/** Of a queue that a relay makes: the longest that SQS keeps messages, and room for a consumer to store a batch. */
export const sqsRetentionSeconds = 14 * 86_400;
export const sqsVisibilitySeconds = 120;
/** Messages of one produce request to Kafka, over all partitions; and tries of one before the topic is reopened. */
export const relayKafkaBatchEventsMax = 512;
export const relayKafkaTriesMax = 2;
/** Looks for the leaders of a new topic, and the wait between them. */
export const relayKafkaLeaderTriesMax = 50;
export const relayKafkaLeaderMs = 100;
/** Of one request for a stream's messages. A server that was away is noticed once so much has passed in silence. */
export const natsPullMs = 10_000;
/** Of one fetch from Kafka, a partition: more where one message is larger. */
export const kafkaFetchBytes = 1 << 20;
/** How long a fetch waits for messages. */
export const kafkaFetchMsMax = 500;
/** Between looks for the topic of a newer generation while nothing comes, and after a failure of a broker. */
export const kafkaLookMs = 5000;
export const kafkaRetryMs = 1000;
/** Whole events in flight of one attempt of a webhook relay, shared out over its keys. */
export const relayWebhookBatchEventsMax = 256;
/** Of a response, read only so that its connection can be used again; a longer or later one costs the connection. */
export const relayWebhookReplyBytesMax = 64 << 10;
export const relayWebhookReplyMsMax = 1000;
/** Longest delay that a receiver's Retry-After can ask for. */
export const relayRetryAfterMsMax = 600_000;
/** Failed tries of one event, while others are accepted, after which it counts as refused for good. */
export const relayWebhookTriesMax = 8;
/** Stopped keys of a webhook relay and records behind them: the file is rewritten for each change. */
export const relayStoppedKeysMax = 1000;
export const relayPendingMax = 10_000;
/** Stopped keys that a status names. */
export const relayStoppedShownMax = 20;
/** Keys of one webhook signed with at a time: rotation takes two. */
export const relayWebhookSecretsMax = 4;
/** A relay outside of the server: heartbeats it asks for, without which a stream counts as dead after the second. */
export const relayHeartbeatMs = 5000;
export const relaySilenceMsMax = 20_000;
/** How often it asks for the ledger's size, for the lag while its destination is down. */
export const relaySizeMsMax = 5000;
/** Backoff of its start while the server does not answer; and between the end of a stream and the next. */
export const relayServerMsMax = 10_000;
export const relayServerMsMin = 250;
/** Control socket of relays. */
export const relayControlConnectionsMax = 8;
export const relayControlMsMax = 30_000;
/** Entries of a tile opened in a turn of their caller, and what one is charged: decryption and a hash of 2 KB. */
export const entriesOpenedMax = 16;
export const entryOpenMs = 0.05;
/** Processor time of a record of an evidence file: to read, verify and prove it, in milliseconds. */
export const evidenceRecordMs = 0.5;
/** Of a tile or a bundle of entries in a message; a bundle of 256 entries is 8,704 bytes. */
export const tileReplyBytesMax = 12 << 10;
/** How long a checkpoint of tiles may be cached, at most; tiles themselves never change. */
export const tilesCheckpointSecondsMax = 5;
export const tilesImmutableSeconds = 31_536_000;
/** Bundles that an export of tiles reads ahead. */
export const tilesReadAheadMax = 8;
/** Between two looks of an export that follows, and while the server is away. */
export const tilesFollowMs = 1000;
export const tilesRetryMsMax = 10_000;
/** Connections of a witness: logs submit over a few, monitors read over others. */
export const witnessConnectionsMax = 256;
/** One request of a witness, from its first byte. */
export const witnessRequestMsMax = 10_000;
/** A witness's answer: lines of signatures, or a note. */
export const witnessAnswerBytesMax = 512 << 10;
export const witnessAnswerMsMax = 10_000;
/** The longest pause before a witness that does not answer is asked again. */
export const witnessPauseMsMax = 60_000;
/** Decisions of one answer to an export of an evidence pack. */
export const packPageMax = 1000;
/** How long an export, of a pack or of a tiled log, waits for a server that is away. */
export const exportAwayMsMax = 120_000;
/** Tiles in the memory of an export, of 8 kB each: those of one path and of its neighbours. */
export const packTilesHeldMax = 128;
/** Between two looks for a published checkpoint that covers a pack, and how long one is waited for. */
export const packCheckpointMs = 250;
export const packCheckpointMsMax = 120_000;
