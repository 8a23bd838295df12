import { expect, it } from 'vitest'
import { aGroupId, anOwner, aUser } from '../../../test/support/fixtures.ts'
import { effectiveRights } from '../rights.ts'
import { lostRights } from './lost-rights.ts'
import { type Limits, UNLIMITED } from './token.ts'

const CREW = aGroupId('crew-id')
const GONE = aGroupId('gone-id')
const user = aUser({ username: 'alice' })
const owner = anOwner({
  user,
  roles: new Set(['reader']),
  scopes: new Set(['read']),
  groups: new Map([[CREW, { id: CREW, name: 'crew', description: '', mode: 'READ' }]]),
})
const directory = {
  roles: [
    { name: 'reader', description: '', scopes: ['read'] },
    { name: 'deployer', description: '', scopes: ['deploy'] },
    { name: 'boss', description: '', scopes: ['deploy'] },
  ],
  groupNames: new Map([[CREW, 'crew']]),
}
const lost = (limits: Partial<Limits>) => lostRights({ ...UNLIMITED, ...limits }, owner, directory)

it('nothing is lost of what the owner holds, nor of what was never named', () => {
  expect(lost({})).toEqual([])
  const limits = {
    roles: ['reader'],
    scopes: ['read', 'openid'],
    groups: [{ id: CREW, mode: 'READ' as const }],
  }
  expect(lost(limits)).toEqual([])
})

it('a lost role, a deleted one, and admin are told apart', () => {
  const details = lost({ roles: ['deployer', 'deleted', 'admin'] }).map(({ detail }) => detail)
  expect(details).toEqual([
    expect.stringContaining('alice does not hold the role "deployer" now'),
    expect.stringContaining('There is no role "deleted" now'),
    'alice is not an administrator now.',
  ])
})

it('a lost scope names the roles that it comes with', () => {
  expect(lost({ scopes: ['deploy', 'forgotten'] })).toEqual([
    {
      what: 'scope',
      name: 'deploy',
      detail: expect.stringContaining('one of the roles "deployer", "boss"'),
    },
    { what: 'scope', name: 'forgotten', detail: expect.stringContaining('No role grants') },
  ])
})

it('a group is lost by its mode, by the membership, or altogether', () => {
  const groups = [
    { id: CREW, mode: 'ADMIN' as const },
    { id: GONE, mode: 'READ' as const },
  ]
  expect(lost({ groups })).toEqual([
    { what: 'group', name: 'crew', detail: expect.stringContaining('has only READ in') },
    { what: 'group', name: GONE, detail: expect.stringContaining('was deleted') },
  ])
  const left = { ...owner, groups: new Map() }
  const [first] = lostRights({ ...UNLIMITED, groups }, left, directory)
  expect(first?.detail).toContain('is not a member of the group "crew"')
})

it('what is lost is what the limits have and the rights have not', () => {
  const limits: Limits = {
    ...UNLIMITED,
    roles: ['reader', 'deployer'],
    scopes: ['read', 'deploy'],
    groups: [{ id: GONE, mode: 'READ' }],
  }
  const rights = effectiveRights(owner, limits)
  const named = lostRights(limits, owner, directory).map(({ what, name }) => `${what} ${name}`)
  expect(named).toEqual(['role deployer', 'scope deploy', `group ${GONE}`])
  expect([...rights.roles]).toEqual(['reader'])
  expect([...Object(rights.scopes)]).toEqual(['read'])
  expect(rights.groups.size).toBe(0)
})
