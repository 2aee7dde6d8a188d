const patterns: readonly RegExp[] = [
  /((?:token|password|passwd|secret|api_?key|authorization|cookie)["']?\s*[=:]\s*["']?(?:token |bearer )?)[^\s"'&,;]+/gi,
  /([?&](?:token|code|state|_xsrf|key)=)[^\s&"']+/gi,
  /(\b(?:token|bearer)\s+)[A-Za-z0-9_\-.]{16,}/gi,
]

/** Lines of a server's own log as its owner may see them on a page: known and likely secrets blotted out, lengths bounded. */
export function redactLines(lines: readonly string[], secrets: readonly string[]): string[] {
  return lines.map((line) => {
    let shown = line.slice(0, 500)
    for (const secret of secrets) shown = shown.replaceAll(secret, '[secret]')
    for (const pattern of patterns) shown = shown.replaceAll(pattern, '$1[secret]')
    return shown
  })
}
