import { greet } from "./greet";
import styles from "./style.module.css";
import data from "./data.json";
import text from "./note.txt";

type Props = { name: string; size?: number };

const View = ({ name, size = 3 }: Props) => (
    <section className={styles.box}>
        <h1>{greet(name)}</h1>
        {Array.from({ length: size }, (_, i) => <p key={i}>{data.words[i % data.words.length]} {text}</p>)}
    </section>
);

export async function later() {
    const { lazy } = await import("./lazy");
    return lazy`one ${1} two`;
}

console.log(<View name="world" />);
