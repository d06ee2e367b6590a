/** Message groups of a queue, in each of which SQS keeps the order. */

/** One for each id, or one for the whole feed. */
export type SqsGroups = "record" | "feed";

/** Of the whole feed; no base64url of a hash. */
export const feedGroup = "feed";
