import type { Excluder } from './exclude.ts'
import { type Git, openGit } from './git.ts'
import { readObjects, type Wanted } from './git-objects.ts'
import type { Finding, GitObject, Surveyor } from './survey.ts'

/** Digits of an object's name that people are shown; git takes them for the whole. */
export const SHORT = 12

interface Scan {
  surveyor: Surveyor
  excludes: Excluder
  env: Record<string, string | undefined>
}

interface Known {
  oid: string
  /** The first path that git names; for tags their name, for commits nothing. */
  path: string
}

/**
 * Scans what the repository around `directory` has ever committed: each blob that is reachable from
 * a ref, once, and the messages of commits and tags. Throws a GitError.
 */
export async function scanHistory(directory: string, scan: Scan): Promise<void> {
  const { surveyor, env } = scan
  const git = await openGit(directory, env)
  if ((await git.read('rev-parse', '--is-shallow-repository')).trim() === 'true') {
    surveyor.note(
      `${directory} is a shallow clone: what was committed before it begins is not here to be scanned.`,
    )
  }
  const before = surveyor.survey.findings.length
  await scanObjects(git, { ...scan, directory, objects: reachable(git, { surveyor, directory }) })
  await nameCommits(git, surveyor.survey.findings.slice(before))
}

/** Scans what is staged for the next commit. Throws a GitError. */
export async function scanStaged(directory: string, scan: Scan): Promise<void> {
  const git = await openGit(directory, scan.env)
  await scanObjects(git, { ...scan, directory, objects: staged(git) })
}

/** About how many objects `scanHistory` reads, for the progress bar. Throws a GitError. */
export async function objectsIn(
  directory: string,
  env: Record<string, string | undefined>,
): Promise<number> {
  const git = await openGit(directory, env)
  const counts = await git.read('count-objects', '-v')
  const count = (name: string) => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(counts)?.[1])
  return count('count') + count('in-pack')
}

async function* reachable(
  git: Git,
  { surveyor, directory }: { surveyor: Surveyor; directory: string },
): AsyncGenerator<Wanted<Known>> {
  for await (const line of git.parts('\n', 'rev-list', '--objects', '--all', '--missing=print')) {
    const space = line.indexOf(' ')
    const oid = space < 0 ? line : line.slice(0, space)
    const path = space < 0 ? '' : line.slice(space + 1)
    if (!oid.startsWith('?')) yield { oid, about: { oid, path } }
    else surveyor.problem(directory, `Object ${oid.slice(1)} is not in this clone.`)
  }
}

async function* staged(git: Git): AsyncGenerator<Wanted<Known>> {
  const changes = await git.read(
    ...['diff', '--cached', '--raw', '-z', '--no-abbrev', '--no-renames', '--no-color'],
    // Deletions put nothing in, and submodules are commits of elsewhere.
    ...['--diff-filter=d', '--ignore-submodules=all'],
  )
  const words = changes.split('\0')
  for (let i = 0; i + 1 < words.length; i += 2) {
    const [, mode, , oid = ''] = words[i]?.split(' ') ?? []
    const isThere = mode !== '160000' && !/^0+$/.test(oid)
    if (isThere) yield { oid, about: { oid, path: words[i + 1] ?? '' } }
  }
}

async function scanObjects(
  git: Git,
  {
    surveyor,
    excludes,
    directory,
    objects,
  }: Scan & { directory: string; objects: AsyncIterable<Wanted<Known>> },
): Promise<void> {
  await readObjects(git, objects, {
    open({ oid, path }, type) {
      if (type === 'tree' || (type === 'blob' && excludes(path))) return undefined
      const kind = type as GitObject['type']
      return surveyor.open({ path: spelled({ oid, path, type: kind }), git: gitObject(oid, kind) })
    },
    missing: ({ oid, path }) =>
      surveyor.problem(path === '' ? directory : path, `Object ${oid} is not in this clone.`),
  })
}

function gitObject(object: string, type: GitObject['type']): GitObject {
  return { object, type, commit: type === 'commit' ? object : null }
}

function spelled({ oid, path, type }: Known & { type: GitObject['type'] }): string {
  const name = path === '' ? oid.slice(0, SHORT) : path
  return type === 'blob' ? name : `${type} ${name}`
}

/** So many objects are named on one command line. */
const OBJECTS_AT_ONCE = 500

/** Where a blob came from. */
interface Origin {
  commit: string
  path: string
}

/** Says of each blob that something was found in which commit brought it, the oldest if several did. */
async function nameCommits(git: Git, findings: readonly Finding[]): Promise<void> {
  const blobs = [
    ...new Set(findings.flatMap(({ git }) => (git?.type === 'blob' ? [git.object] : []))),
  ]
  const origins = new Map<string, Origin>()
  for (let i = 0; i < blobs.length; i += OBJECTS_AT_ONCE) {
    await findOrigins(git, { blobs: blobs.slice(i, i + OBJECTS_AT_ONCE), origins })
  }
  for (const finding of findings) {
    const origin = finding.git === undefined ? undefined : origins.get(finding.git.object)
    if (finding.git === undefined || origin === undefined) continue
    finding.git.commit = origin.commit
    // The name it had there, so that `git show <commit>:<path>` shows it.
    finding.path = origin.path
  }
}

async function findOrigins(
  git: Git,
  { blobs, origins }: { blobs: readonly string[]; origins: Map<string, Origin> },
): Promise<void> {
  const wanted = blobs.map((blob) => `--find-object=${blob}`)
  const order = ['--all', '--topo-order', '--reverse']
  // A setting of the repository may want signatures checked, by a program that it names.
  const format = ['--no-show-signature', '--format=%H', '--raw', '--no-abbrev', '--no-color', '-z']
  const parts = git.parts('\0', 'log', ...order, ...format, '--no-renames', '-m', ...wanted)
  let commit = ''
  for await (const part of parts) {
    const word = part.trimStart()
    if (!word.startsWith(':')) {
      commit = word
      continue
    }
    const { value: path = '' } = await parts.next()
    const added = word.split(' ')[3] ?? ''
    if (!origins.has(added)) origins.set(added, { commit, path })
  }
}
