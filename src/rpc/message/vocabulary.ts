/** Protobuf enums of domain values. */
import { LevelOfAccess, Verdict } from "@sigil/proto/sigil/type/v1/type";
import type { FrozenVerdict, LevelName } from "@sigil/core/record";

const VERDICTS = {
  allow: Verdict.VERDICT_ALLOW,
  deny: Verdict.VERDICT_DENY,
  review: Verdict.VERDICT_REVIEW,
} satisfies Record<FrozenVerdict, Verdict>;

const LEVELS = {
  guest: LevelOfAccess.LEVEL_OF_ACCESS_GUEST,
  observer: LevelOfAccess.LEVEL_OF_ACCESS_OBSERVER,
  operator: LevelOfAccess.LEVEL_OF_ACCESS_OPERATOR,
  mentor: LevelOfAccess.LEVEL_OF_ACCESS_MENTOR,
  root: LevelOfAccess.LEVEL_OF_ACCESS_ROOT,
} satisfies Record<LevelName, LevelOfAccess>;

export const formatVerdict = (verdict: FrozenVerdict): Verdict => VERDICTS[verdict];

export const formatLevel = (level: LevelName): LevelOfAccess => LEVELS[level];

export const formatTime = (timeMs: number): Date => new Date(timeMs);
