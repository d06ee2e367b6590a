/**
 * Variables that Kubernetes puts into every pod for each Service of its namespace: a Service named `sigil` or `sigil-…`
 * makes them begin as ours do. They are nobody's setting.
 * Source: https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables.
 */

const linkName =
  /^SIGIL(?:_[A-Z0-9]+)*_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_\d{1,5}_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$/;

/** Those that hold a URL: `SIGIL_PORT=6000` is somebody's idea of a setting, and is told so. */
const urlName = /(?<!_SERVICE|_TCP|_UDP|_SCTP)_PORT$|_(?:TCP|UDP|SCTP)$/;
const linkUrl = /^(?:tcp|udp|sctp):\/\/\S+:\d{1,5}$/;

/** Whether Kubernetes makes such a variable, by its name and, where people may have meant a setting, its value. */
export const isServiceLink = (variable: string, value: string): boolean =>
  linkName.test(variable) && (!urlName.test(variable) || linkUrl.test(value));
