/**
 * Runs dependency-cruiser over every source folder and refuses an empty result: a parser that
 * understands nothing reports no modules and, happily, no violations.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

interface Report {
  modules: { source: string }[]
  summary: {
    totalDependenciesCruised: number
    violations: { rule: { name: string }; from: string; to: string; cycle?: { name: string }[] }[]
    ruleSetUsed: { forbidden: { name: string; comment: string }[] }
  }
}

const root = join(import.meta.dirname, '..')
const folders = ['src', 'sdk', 'test', 'bench', 'scripts'].filter((folder) =>
  existsSync(join(root, folder)),
)
const cruise = spawnSync('depcruise', [...folders, '--output-type', 'json'], {
  cwd: root,
  encoding: 'utf8',
  maxBuffer: 256 * 1024 * 1024,
})
if (!cruise.stdout.startsWith('{')) fail(`dependency-cruiser did not run: ${cruise.stderr}`)

const { modules, summary }: Report = JSON.parse(cruise.stdout)
const moduleCount = modules.filter((module) => module.source.startsWith('src/')).length
const sentences = new Map(summary.ruleSetUsed.forbidden.map((rule) => [rule.name, rule.comment]))

for (const { rule, from, to, cycle } of summary.violations) {
  const path = cycle ? [from, ...cycle.map((step) => step.name)] : [from, to]
  const arrow = path.filter((step, i) => step !== path[i - 1]).join(' → ')
  console.error(`${rule.name}: ${arrow}\n  ${sentences.get(rule.name) ?? ''}`)
}
if (summary.violations.length > 0) fail(`${summary.violations.length} dependencies break a rule.`)
if (moduleCount === 0) fail('dependency-cruiser read 0 modules in src, so it checked nothing.')
if (summary.totalDependenciesCruised === 0) fail('dependency-cruiser found no imports at all.')
console.log(
  `${moduleCount} modules in src, ${summary.totalDependenciesCruised} dependencies, no violations.`,
)

function fail(reason: string): never {
  console.error(reason)
  process.exit(1)
}
