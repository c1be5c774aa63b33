// A page of about 10 KB, static until it is an hour old.
export default function Post({ id }) {
  return (
    <p>
      {id} {'x'.repeat(9300)}
    </p>
  );
}

export const getStaticPaths = () => ({ paths: [], fallback: 'blocking' });

export const getStaticProps = ({ params }) => ({ props: { id: params.id }, revalidate: 3600 });
