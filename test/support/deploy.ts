import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Document, parseAllDocuments } from 'yaml'

const ROOT = new URL('../../', import.meta.url)

/** A file of the repository. */
export function repositoryPath(path: string): string {
  return fileURLToPath(new URL(path, ROOT))
}

/** Its text. */
export function readText(path: string): string {
  return readFileSync(repositoryPath(path), 'utf8')
}

/** The documents of a YAML file; throws on anything that YAML 1.2 does not allow. */
// Other people's formats; what is read of them is asserted.
// biome-ignore lint/suspicious/noExplicitAny: see above
export function readYaml(path: string): any {
  const [document, ...more] = parseAllDocuments(readText(path), { merge: true }) as Document[]
  if (document === undefined || more.length > 0) throw new Error(`${path}: not one document.`)
  for (const problem of [...document.errors, ...document.warnings]) throw problem
  return document.toJS()
}

export interface Instruction {
  word: string
  rest: string
}

/** The instructions of the Dockerfile with their lines joined, by stage. */
export function dockerStages(): Instruction[][] {
  const text = readText('Dockerfile')
    .replace(/^#.*\n/gm, '')
    .replace(/\\\n\s*/g, '')
  const all = text.split('\n').filter((line) => line.trim() !== '')
  const stages: Instruction[][] = []
  for (const line of all) {
    const [word = '', rest = ''] = line.split(/\s+(.*)/s)
    if (word === 'FROM') stages.push([])
    stages.at(-1)?.push({ word, rest })
  }
  return stages
}

/** What the image sets, as an environment. */
export function imageEnvironment(): Record<string, string> {
  const rests = (dockerStages().at(-1) ?? [])
    .filter(({ word }) => word === 'ENV')
    .map(({ rest }) => rest)
  return Object.fromEntries(
    rests
      .flatMap((rest) => rest.trim().split(/\s+/))
      .map((pair) => pair.split('=') as [string, string]),
  )
}
