/**
 * Where the API is, by the URL that the configuration gives, never by what a request says. Source: Authorization API
 * 1.0, §9.
 */

export const evaluationPath = "/access/v1/evaluation";
export const evaluationsPath = "/access/v1/evaluations";
export const wellKnownPath = "/.well-known/authzen-configuration";

/** The path of a public URL, without a trailing slash; "" if the path or the URL is empty. */
export const basePathOf = (publicUrl: string): string =>
  publicUrl === "" ? "" : new URL(publicUrl).pathname.replace(/\/$/, "");

/** @param publicUrl without a slash at its end. */
export const formatMetadata = (publicUrl: string): Readonly<Record<string, string>> => ({
  policy_decision_point: publicUrl,
  access_evaluation_endpoint: publicUrl + evaluationPath,
  access_evaluations_endpoint: publicUrl + evaluationsPath,
});
