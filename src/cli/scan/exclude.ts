import { matchesGlob } from 'node:path'

/** Whether a path is left out. Paths are relative to what is scanned and have `/` between names. */
export type Excluder = (path: string) => boolean

/**
 * Leaves out what matches one of the globs: without a slash any file or directory of that name, with
 * one the path. A directory that matches is left out with all that is in it.
 */
export function excluder(globs: readonly string[]): Excluder {
  if (globs.length === 0) return () => false
  const rules = globs.map((glob) => glob.replace(/^\.\//, '').replace(/\/+$/, ''))
  return (path) => {
    const parts = path.split('/')
    return parts.some((name, i) => {
      const above = parts.slice(0, i + 1).join('/')
      return rules.some((rule) => matchesGlob(rule.includes('/') ? above : name, rule))
    })
  }
}
