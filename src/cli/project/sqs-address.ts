/** Where a queue of SQS is, as `--from` says it. Apart from what reads it, which loads the client of SQS. */
import type { SqsAddress } from "../../relay/sqs/queue.ts";

/**
 * `sqs://REGION/QUEUE`, or a queue's URL as SQS shows it, whose account may be another one.
 * @param endpoint "" for the region's own. @returns undefined if it is neither.
 */
export const parseSqsAddress = (text: string, endpoint: string): SqsAddress | undefined => {
  const [, region, queue] = /^sqs:\/\/([a-z0-9-]+)\/([A-Za-z0-9_.-]+)$/.exec(text) ?? [];
  if (region !== undefined && queue !== undefined) return { region, queue, endpoint, owner: "" };
  const url = /^https:\/\/sqs\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?\/(\d{12})\/([A-Za-z0-9_.-]+)$/.exec(
    text,
  );
  const [, regionOfUrl, owner, queueOfUrl] = url ?? [];
  if (regionOfUrl === undefined || owner === undefined || queueOfUrl === undefined) return undefined;
  return { region: regionOfUrl, queue: queueOfUrl, endpoint, owner };
};
