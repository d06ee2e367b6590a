/** Limits of the formats and of their verification, with units and reasons. Pure. */

/** Size of one canonical value; larger data belongs in an object store. */
export const cborBytesMax = 1 << 20;
/** An evidence file: a record and what proves it, each at most a canonical value, and nearly always a few kilobytes. */
export const evidenceBytesMax = 16 << 20;
/** A line of an evidence pack: an envelope, disclosures with a raw input, and what is read of both, as JSON. */
export const packLineBytesMax = 8 << 20;
/** The manifest of an evidence pack: as many named gaps as it may have, and a checkpoint with every cosignature. */
export const packManifestBytesMax = 16 << 20;
/** Callers of one evidence pack: each has two records in it, and its numbers in memory while the pack is verified. */
export const packCallersMax = 10_000;
/** Gaps that one evidence pack names. A pack with more is no statement that anybody reads. */
export const packGapsMax = 10_000;
/** Models that decisions of one evidence pack name, in memory while the pack is verified. */
export const packModelsMax = 256;
/** Restorations of the ledger within one evidence pack. */
export const packRestorationsMax = 1024;
/** A mapping of controls to decisions: frameworks have a few hundred of them. */
export const controlsBytesMax = 1 << 20;
/** The same as a pack has it: indented, with counts. */
export const controlsWrittenBytesMax = 8 << 20;
export const controlsMax = 512;
export const controlFiltersMax = 64;
/** Nesting of a canonical value; shallow enough for recursion on any stack. */
export const cborDepthMax = 16;
/** Entries of one map or array. */
export const cborEntriesMax = 4096;
export const recordIdBytesMax = 255;
export const tenantBytesMax = 63;
/** A kind and a link's label are names, not data. */
export const kindBytesMax = 255;
export const labelBytesMax = 255;
export const linksMax = 64;
/** Attributes of a principal, and texts of a list attribute: short facts, not documents. */
export const attributesMax = 64;
export const attributeNameBytesMax = 64;
export const attributeBytesMax = 512;
/** Of a decision's record: facts, fired rules, delegating records and budgets. */
export const contextsMax = 64;
export const rulesMax = 64;
export const delegationMax = 8;
export const budgetsMax = 16;
/** Decisions that a flip report scores: with every one of them a flip it has about 100 KB. */
export const flipDecisionsMax = 1000;
/** Attestations in one envelope: more witnesses than any registry holds. */
export const attestationsMax = 64;
export const schemaVersionMax = 65_535;
/** Merkle tile width: 2^8 hashes, C2SP tlog-tiles. */
export const tileHeight = 8;
export const tileHashesMax = 1 << tileHeight;
/** Cached lookups of a glob table; each text is as long as a target may be. */
export const globFindsMax = 1024;
export const actionBytesMax = 128;
export const targetBytesMax = 512;
/** A principal's id within a record id; longer ids are enrolled by digest. */
export const principalIdBytesMax = 200;
export const sessionBytesMax = 128;
/** Tenants, or kinds, that one feed grant names. */
export const feedGrantItemsMax = 1024;
/** Entries of a model's action or target table. */
export const modelTableEntriesMax = 1024;
/** Sizes and positions are uint64 on the wire. */
export const treeSizeMax = 2n ** 64n - 1n;
/** A checkpoint with every witness on it; 64 leaves room above the 16 that C2SP signed-note asks for. */
export const noteSignaturesMax = 64;
/** Fits that many post-quantum signatures of about 5 kB each, in base64. */
export const noteBytesMax = 512 << 10;
/** Logs, witnesses and groups of one trust policy; C2SP tlog-policy asks for 32 of each. */
export const policyLinesMax = 256;
/** Highest tile level in a path, C2SP tlog-tiles. */
export const tileLevelMax = 63;
/** Cached parsed public keys: signing keys, witnesses and the busiest principals. */
export const verifyKeysMax = 4096;
/** Keys whose multiples are kept, 130 KB each: a ledger's own, and a few that sign as often. */
export const keyTablesMax = 64;
/**
 * Cached accepted signatures, separately for own and foreign keys: about a megabyte, enough for a busy tenant's
 * records.
 */
export const acceptedSignaturesMax = 8192;
/** One day: the longest sliding window of a model. */
export const rateWindowMsMax = 86_400_000;
/** The highest rate limit of a model, in checks per window. */
export const rateLimitMax = 1_000_000;
