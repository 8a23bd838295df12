/**
 * Where the browser may go after signing in, as the URL to send it to; undefined: not there.
 * `allowed` holds exact URLs, or prefixes that end in `/`. Both sides are parsed before they are
 * compared, because `https://good@evil`, `https://good.evil` and `/\evil` only look like the real one.
 */
export function allowedReturn(wanted: string, allowed: readonly string[]): string | undefined {
  // Browsers and parsers disagree about what they strip, so nothing may need stripping.
  if (!/^[\x21-\x7e]+$/.test(wanted) || wanted.includes('\\')) return undefined
  const url = URL.parse(wanted)
  if (url === null || !/^https?:$/.test(url.protocol)) return undefined
  if (url.username !== '' || url.password !== '') return undefined
  return allowed.some((entry) => fits(url, entry)) ? url.href : undefined
}

function fits(url: URL, entry: string): boolean {
  const given = URL.parse(entry)
  if (given === null) return false
  if (!entry.endsWith('/')) return url.href === given.href
  return url.origin === given.origin && url.pathname.startsWith(given.pathname)
}
