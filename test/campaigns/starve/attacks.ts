/** All attacks by name. */
import type { Attack } from "./attack.ts";
import { bombs } from "./attacks/bombs.ts";
import { busyCallers } from "./attacks/busy-callers.ts";
import { connections } from "./attacks/connections.ts";
import { inspections } from "./attacks/inspections.ts";
import { largeLists } from "./attacks/large-lists.ts";
import { nothing } from "./attacks/nothing.ts";
import { unreadAnswers } from "./attacks/unread-answers.ts";
import { watches } from "./attacks/watches.ts";

export const attacks: readonly Attack[] = [
  nothing,
  ...largeLists,
  ...bombs,
  ...unreadAnswers,
  ...busyCallers,
  ...watches,
  ...connections,
  ...inspections,
];
