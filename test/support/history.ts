// What clients saw of a cluster, and what no such history may contain. Pure: times are milliseconds of one
// monotonic clock, tokens are ids, and nothing here knows how the history came about.

interface Span {
  /** Which server was asked. */
  node: number
  beganMs: number
  /** Infinity: it was never answered, or so that it may yet have happened. */
  endedMs: number
}

export interface Creation extends Span {
  what: 'create'
  name: string
  /** Undefined: never told. */
  token: string | undefined
}

export interface Rotation extends Span {
  what: 'rotate'
  token: string
  /** Undefined: never told. */
  successor: string | undefined
  /** 0: the old secret ends at once. */
  overlapMs: number
  /** Whether all nodes have said that they know of it. */
  acknowledged: boolean
}

export interface Revocation extends Span {
  what: 'revoke'
  token: string
  acknowledged: boolean
}

export interface Question extends Span {
  what: 'verify'
  token: string
  active: boolean
  /** Whether it was to be answered by the database. */
  strong: boolean
}

export type Operation = Creation | Rotation | Revocation | Question
type Ending = Rotation | Revocation

/** A token as the list shows it at the end. */
export interface Found {
  id: string
  familyId: string
  name: string
  revoked: boolean
  supersededBy: string | undefined
}

export interface History {
  operations: readonly Operation[]
  /** All tokens in the end; undefined: nobody looked. */
  found: readonly Found[] | undefined
  /** How long a node that was not heard may answer from memory. */
  leaseMs: number
  /** How far the wall clocks of the nodes were ever apart. */
  skewMs: number
}

/** What is wrong with the history, one sentence each; none when every promise was kept. */
export function problemsOf(history: History): string[] {
  const families = familiesOf(history.operations)
  return [
    ...[...families.values()].flatMap((family) => problemsOfFamily(family, history)),
    ...(history.found === undefined ? [] : problemsOfEnd(history.operations, history.found)),
  ]
}

interface Family {
  rotations: Rotation[]
  revocations: Revocation[]
  /** By token. */
  questions: Map<string, Question[]>
}

const happened = ({ endedMs }: Span) => endedMs !== Number.POSITIVE_INFINITY

/** Tokens that follow each other by rotation belong together: whoever revokes one revokes them all. */
function familiesOf(operations: readonly Operation[]): Map<string, Family> {
  const predecessor = new Map<string, string>()
  for (const operation of operations) {
    if (operation.what !== 'rotate' || operation.successor === undefined) continue
    predecessor.set(operation.successor, operation.token)
  }
  const rootOf = (token: string): string => {
    const before = predecessor.get(token)
    return before === undefined ? token : rootOf(before)
  }
  const families = new Map<string, Family>()
  for (const operation of operations) {
    if (operation.token === undefined) continue
    const root = rootOf(operation.token)
    const family: Family = families.get(root) ?? {
      rotations: [],
      revocations: [],
      questions: new Map(),
    }
    families.set(root, family)
    if (operation.what === 'rotate') family.rotations.push(operation)
    if (operation.what === 'revoke') family.revocations.push(operation)
    if (operation.what !== 'verify') continue
    const questions = family.questions.get(operation.token)
    if (questions === undefined) family.questions.set(operation.token, [operation])
    else questions.push(operation)
  }
  return families
}

function problemsOfFamily(family: Family, history: History): string[] {
  const problems = [...family.questions].flatMap(([token, questions]) => [
    ...wrongAnswers(questions, endingsOf(token, family), history),
    ...revivals(questions, { history, rotations: family.rotations }),
  ])
  const done = family.rotations.filter(happened)
  for (const [i, rotation] of done.entries()) {
    const twin = done.slice(i + 1).find(({ token }) => token === rotation.token)
    if (twin !== undefined) {
      problems.push(`Two successors: ${told(rotation)} and ${told(twin)}.`)
    }
    const death = family.revocations.find(({ endedMs }) => endedMs < rotation.beganMs)
    if (death !== undefined) {
      problems.push(`Rotated after its end: ${told(rotation)} after ${told(death)}.`)
    }
  }
  return problems
}

/** What could end the token: revocations of its family, its own rotation, rotations at once of what followed. */
function endingsOf(token: string, { rotations, revocations }: Family): Ending[] {
  const endings: Ending[] = [...revocations]
  const line = new Set([token])
  // Each rotation is of a token that an earlier one has made, but not in the order of the history.
  for (let grew = true; grew; ) {
    grew = false
    for (const { token: old, successor } of rotations) {
      if (!line.has(old) || successor === undefined || line.has(successor)) continue
      line.add(successor)
      grew = true
    }
  }
  for (const rotation of rotations) {
    const isOwn = rotation.token === token
    if (isOwn || (rotation.overlapMs === 0 && line.has(rotation.token))) endings.push(rotation)
  }
  return endings
}

const overlapOf = (ending: Ending) => (ending.what === 'rotate' ? ending.overlapMs : 0)

function wrongAnswers(
  questions: readonly Question[],
  endings: readonly Ending[],
  { leaseMs, skewMs }: History,
): string[] {
  /** From when on nobody may say yes any more. */
  const deadFrom = (ending: Ending, { strong }: Question) => {
    const isKnown = ending.endedMs + (ending.acknowledged || strong ? 0 : leaseMs)
    const overlapMs = overlapOf(ending)
    return overlapMs === 0 ? isKnown : Math.max(isKnown, ending.endedMs + overlapMs + skewMs)
  }
  /** Until when nobody may say no. */
  const aliveUntil = (ending: Ending) => {
    const overlapMs = overlapOf(ending)
    return overlapMs === 0 ? ending.beganMs : ending.beganMs + overlapMs - skewMs
  }
  return questions.flatMap((question) => {
    if (question.active) {
      const death = endings.find((ending) => question.beganMs > deadFrom(ending, question))
      return death === undefined ? [] : [`Stale yes: ${told(question)} after ${told(death)}.`]
    }
    const mayBeDead = endings.some((ending) => question.endedMs >= aliveUntil(ending))
    return mayBeDead ? [] : [`Refused alive: ${told(question)}.`]
  })
}

/** A yes after a no: at once on the same node, after the lease on any. */
function revivals(
  questions: readonly Question[],
  { history, rotations }: { history: History; rotations: readonly Rotation[] },
): string[] {
  const [{ token } = { token: '' }] = questions
  // The end of an overlap is an instant of the nodes' own clocks, which may be stepped back behind it.
  const hasOverlap = rotations.some((r) => r.token === token && r.overlapMs > 0)
  if (hasOverlap && history.skewMs > 0) return []
  const noes = questions.filter(({ active }) => !active)
  return questions.flatMap((question) => {
    if (!question.active) return []
    const no = noes.find(({ node, endedMs }) => {
      const waitMs = node === question.node || question.strong ? 0 : history.leaseMs
      return question.beganMs > endedMs + waitMs
    })
    return no === undefined ? [] : [`Revived: ${told(question)} after ${told(no)}.`]
  })
}

function problemsOfEnd(operations: readonly Operation[], found: readonly Found[]): string[] {
  const byId = new Map(found.map((token) => [token.id, token]))
  const problems: string[] = []
  for (const operation of operations) {
    if (operation.what === 'verify' || !happened(operation)) continue
    const made = operation.what === 'rotate' ? operation.successor : operation.token
    const isThere = made !== undefined && byId.has(made)
    if (!isThere) problems.push(`Missing in the end: what ${told(operation)} made or changed.`)
    const old = byId.get(operation.token ?? '')
    if (operation.what === 'revoke' && isThere && old?.revoked !== true) {
      problems.push(`Forgotten: ${told(operation)}.`)
    }
    if (operation.what === 'rotate' && old?.supersededBy !== operation.successor) {
      problems.push(`Forgotten: ${told(operation)}.`)
    }
  }
  return [...problems, ...strangeFamilies(found)]
}

/** Each name was asked for once, and each token is the first of its family or the successor of one other. */
function strangeFamilies(found: readonly Found[]): string[] {
  const ids = new Set(found.map(({ id }) => id))
  const followers = new Set(found.map(({ supersededBy }) => supersededBy))
  const firstOf = new Map<string, string>()
  const problems: string[] = []
  for (const { id, name, supersededBy } of found) {
    if (supersededBy !== undefined && !ids.has(supersededBy)) {
      problems.push(`Half rotated: ${id} has a successor that is not there.`)
    }
    if (followers.has(id)) continue
    const other = firstOf.get(name)
    if (other !== undefined) problems.push(`Made twice: ${other} and ${id}, both "${name}".`)
    firstOf.set(name, id)
  }
  return problems
}

function told({ what, node, beganMs, endedMs, ...rest }: Operation): string {
  const span = `${beganMs.toFixed(1)}–${endedMs.toFixed(1)} ms`
  return `${what} on node ${node + 1} at ${span} ${JSON.stringify(rest)}`
}
