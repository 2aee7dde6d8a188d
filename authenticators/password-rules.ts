/** Passwords that are tried first; compared in lower case, digits and signs at the end cut off. */
const common = new Set(
  `password passw0rd p@ssw0rd pa$$word qwerty qwertyuiop qwertz azerty asdfghjkl zxcvbnm iloveyou
  welcome sunshine princess football baseball superman batman trustno letmein dragon master monkey
  shadow michael jennifer charlie starwars whatever freedom computer internet google facebook linkedin
  samsung corvette mercedes ferrari mustang liverpool chelsea arsenal jupyter jupyterhub portico
  notebook python science student teacher university college school summer winter spring autumn
  january february changeme secret administrator admin root default guest test testing temporary
  abcdefgh abcd abc qazwsx qwe asd zxc aaaaaaaa hello helloworld`.split(/\s+/),
)

export interface NewPassword {
  readonly name: string
  readonly password: string
  readonly repeated: string
}

/** What is wrong with a new password, for whoever chose it, or null. */
export function passwordProblem(
  rules: { readonly minimumPasswordLength: number; readonly checkCommonPassword: boolean },
  { name, password, repeated }: NewPassword,
): string | null {
  const characters = Array.from(password.normalize('NFC')).length
  if (password !== repeated) return 'The two passwords are not the same.'
  if (characters < rules.minimumPasswordLength)
    return `A password has at least ${rules.minimumPasswordLength} characters.`
  if (Buffer.byteLength(password) > 1_024) return 'A password has at most 1024 bytes.'
  if (password.includes('\0')) return 'A password cannot hold a NUL.'
  if (rules.checkCommonPassword && isCommon(name, password))
    return 'That password is among the first that anybody would try.'
  return null
}

function isCommon(name: string, password: string): boolean {
  const lower = password.toLowerCase()
  const stem = lower.replace(/[\d\s\p{P}\p{S}]+$/u, '')
  const isOfOneKind = /^(.{1,3})\1+.{0,2}$/su.test(lower)
  const isRun =
    '01234567890'.includes(lower.slice(0, 10)) || '09876543210'.includes(lower.slice(0, 10))
  return (
    common.has(lower) || common.has(stem) || stem === name || stem === '' || isOfOneKind || isRun
  )
}
