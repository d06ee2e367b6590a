/**
 * Environment variables that Kubernetes sets in every pod for each Service of its namespace: for a Service named
 * `sigil` or `sigil-…` they have our prefix. They are not settings. Source:
 * https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables.
 */

const linkName =
  /^SIGIL(?:_[A-Z0-9]+)*_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d{1,5}_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$/;

/** Names whose value must be a URL: `SIGIL_PORT=6000` is a mistaken setting, and reported. */
const urlName = /(?<!_SERVICE|_TCP|_UDP|_SCTP)_PORT$|_(?:TCP|UDP|SCTP)$/;
const linkUrl = /^(?:tcp|udp|sctp):\/\/\S+:\d{1,5}$/;

/** Whether it is a Kubernetes service variable, by its name and, if ambiguous, its value. */
export const isServiceLink = (variable: string, value: string): boolean =>
  linkName.test(variable) && (!urlName.test(variable) || linkUrl.test(value));
